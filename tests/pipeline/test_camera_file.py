"""cameras.toml as it is read: what it names, and from where."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilcast.errors import ConfigError
from veilcast.pipeline.camera_file import Site, load

CAMERA = '[[camera]]\nname = "door"\nin = "clip.mp4"\nout = "out/"\n'


def site(folder: Path, settings: str = "", camera: str = "") -> Site:
    """As read from a file in `folder`."""
    (folder / "out").mkdir(parents=True)
    (folder / "cameras.toml").write_text(f"{settings}\n{CAMERA}{camera}")
    return load(folder / "cameras.toml")


SYNTHETIC = 'model = "models/site"\nidentity_key_file = "site.key"\n'


@pytest.mark.parametrize("of_all", [True, False])
def test_all_that_a_file_names_lies_in_its_own_folder(of_all: bool, tmp_path: Path) -> None:
    """Wherever the command is called: a service runs in /, and its file lies elsewhere."""
    settings = f'zones = "zones.toml"\n[synthetic]\n{SYNTHETIC}'
    folder = tmp_path / "site"
    if of_all:
        read = site(folder, settings)
    else:
        read = site(folder, camera=settings.replace("[synthetic]", "[camera.synthetic]"))
    (camera,) = read.cameras
    assert camera.source.path == str(folder / "clip.mp4")
    assert camera.outputs[0].path == str(folder / "out")
    assert camera.config.zones == str(folder / "zones.toml")
    assert camera.config.synthetic.model == folder / "models/site"
    assert camera.config.synthetic.identity_key_file == folder / "site.key"


def test_what_is_named_from_the_root_stays_and_so_do_polygons(tmp_path: Path) -> None:
    settings = 'zones = "0,0 9,0 9,9"\n[synthetic]\nmodel = "/srv/model"\n'
    (camera,) = site(tmp_path / "site", settings).cameras
    assert camera.config.synthetic.model == Path("/srv/model")
    assert camera.config.synthetic.identity_key_file is None
    assert camera.config.zones == "0,0 9,0 9,9"


def test_names_that_the_service_answers_to(tmp_path: Path) -> None:
    names = ("a.example", "*.b", "10.0.0.1", "fd00::1", "*")
    read = site(tmp_path, f'[service]\nlisten = "[::]:80"\nhosts = {list(names)}\n')
    assert read.listen == ("::", 80)
    assert read.hosts == names


@pytest.mark.parametrize(
    "hosts", ['"a.example"', '["http://a.example"]', '["a:80"]', '["a.*"]', "[1]", '[""]']
)
def test_what_is_no_name_of_a_service_is_one_sentence(hosts: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a host's name|\[service\] holds"):
        site(tmp_path, f"[service]\nhosts = {hosts}\n")


ALONE = '[[camera]]\nname = "door"\nin = "clip.mp4"\n'
SERVICE = '[service]\nlisten = "127.0.0.1:8080"\n'


@pytest.mark.parametrize("text", [ALONE, f"{SERVICE}{ALONE}preview = false\n"])
def test_a_camera_that_nobody_would_see_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "cameras.toml").write_text(text)
    with pytest.raises(ConfigError, match="camera door has no output; name one with out, or"):
        load(tmp_path / "cameras.toml", tmp_path)


def test_a_camera_may_have_its_preview_alone_where_the_service_shows_it(tmp_path: Path) -> None:
    for text, listen in ((f"{SERVICE}{ALONE}", None), (ALONE, ("127.0.0.1", 9))):
        (tmp_path / "cameras.toml").write_text(text)
        read = load(tmp_path / "cameras.toml", tmp_path / "previews", listen=listen)
        assert read.cameras[0].preview == tmp_path / "previews" / "door"
        assert read.listen == (listen or ("127.0.0.1", 8080))


def test_no_preview_is_made_where_no_service_shows_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "cameras.toml").write_text(CAMERA)
    assert load(tmp_path / "cameras.toml", tmp_path / "previews").cameras[0].preview is None
