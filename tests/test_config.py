"""Settings: the sample file is in step, unknown and contradicting ones are refused with their name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from veilcast.commands._options import said
from veilcast.commands.config import sample
from veilcast.config import Config, load, overlay
from veilcast.errors import ConfigError

SAMPLE = Path(__file__).resolve().parent.parent / "configs" / "veilcast.toml"


def test_the_sample_is_what_the_settings_say() -> None:
    assert SAMPLE.read_text() == sample(), "run: veilcast config > configs/veilcast.toml"


def test_the_sample_loads_as_the_defaults() -> None:
    assert load(SAMPLE) == Config()


def test_the_sample_names_every_setting() -> None:
    text = SAMPLE.read_text()
    for section in [Config(), *(value for _, value in Config() if isinstance(value, BaseModel))]:
        for name, field in type(section).model_fields.items():
            assert f"{name} =" in text or f"[{name}]" in text
            assert field.description or isinstance(getattr(section, name), BaseModel), (
                f"say what {name} means"
            )
    assert tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("replacewith = 'blur'", "replacewith"),
        ("[cover]\nreplacewiht = 'blur'", r"cover\.replacewiht"),
        ("[cover]\nreplacewith = 'none'", r"cover\.replacewith"),
        ("[cover]\nmask_scale = 0.5", r"cover\.mask_scale"),
        ("[detect]\nthresh = 'high'", r"detect\.thresh"),
        ("start_s = 5\nend_s = 2", "before end_s"),
        ("[cover", "not valid TOML"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "site.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "none.toml")


def test_options_win_over_the_file_and_leave_the_rest() -> None:
    base = overlay(Config(), {"cover.replacewith": "mosaic", "cover.mask_scale": 1.5})
    changed = overlay(base, {"cover.replacewith": "blur", "cover.mask_scale": None, "start_s": 2})
    assert (changed.cover.replacewith, changed.cover.mask_scale, changed.start_s) == ("blur", 1.5, 2)
    assert base.cover.replacewith == "mosaic"


def test_an_option_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the options: setting detect\.thresh"):
        overlay(Config(), {"detect.thresh": 7})


def test_a_commands_usual_cover_gives_way_to_the_file_and_both_to_the_command_line(tmp_path: Path) -> None:
    silent, speaking = tmp_path / "silent.toml", tmp_path / "speaking.toml"
    silent.write_text("[cover]\nmask_scale = 1.5\n")
    speaking.write_text("[cover]\nreplacewith = 'solid'\n")
    assert said(None, None, "synthetic") == "synthetic"
    assert said(silent, None, "synthetic") == "synthetic"
    assert overlay(load(speaking), {"cover.replacewith": said(speaking, None, "synthetic")}) == load(speaking)
    assert said(speaking, "blur", "synthetic") == "blur"
