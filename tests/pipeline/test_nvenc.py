"""The card's encoder: taken where it takes the whole of the processor's part over, and only where there is a
card that has one."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from tests.media import Clip
from tests.pipeline.round_trip import carry_over

from veilcast.config import Config, Encode
from veilcast.pipeline import nvenc, stages
from veilcast.pipeline.codecs import FAMILIES, Choice, encoder_options, pixel_format
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.encode import Encoder, pixel_formats
from veilcast.pipeline.gate import release
from veilcast.pipeline.hdr import Light
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.plan import Plan
from veilcast.types import Colour, Orientation, StreamInfo

Clips = Callable[[str, Clip], Path]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvenc, "opens", lambda *_: True)


def asked(
    codec: str = "h264",
    pix_fmt: str = "yuv420p",
    settings: Encode = Encode(),  # noqa: B008 (frozen)
    interlaced: bool = False,
    light: Light = Light(),  # noqa: B008 (frozen)
) -> Choice:
    layout = pixel_format(pix_fmt)
    info = StreamInfo(
        codec,
        640,
        360,
        layout,
        Colour(),
        Orientation(),
        Fraction(1),
        Fraction(1, 25),
        Fraction(25),
        None,
        None,
    )
    return nvenc.on_card(Choice(FAMILIES[codec], pix_fmt), info, interlaced, light, settings)


@pytest.mark.parametrize(("codec", "encoder"), [("h264", "h264_nvenc"), ("hevc", "hevc_nvenc")])
def test_a_card_encodes_what_it_can(card: None, codec: str, encoder: str) -> None:
    taken = asked(codec, settings=Encode(crf=20.4))
    assert (taken.family.encoder, taken.family.codec, taken.pix_fmt) == (encoder, codec, "yuv420p")
    assert taken.pix_fmt in pixel_formats(encoder)
    options = encoder_options(taken, 2, Light())
    assert (options["rc"], options["qp"], options["preset"]) == ("constqp", "20", "p5")


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(lambda: asked("vp9"), id="another codec"),
        pytest.param(lambda: asked("hevc", "yuv420p10le"), id="10 bits"),
        pytest.param(lambda: asked("h264", "yuv422p"), id="more colour"),
        pytest.param(lambda: asked(interlaced=True), id="interlaced"),
        pytest.param(lambda: asked("hevc", light=Light(content=(1000, 400))), id="HDR"),
        pytest.param(lambda: asked(settings=Encode(preset="slow")), id="a preset of the processor's encoder"),
        pytest.param(lambda: asked(settings=Encode(codec="libx264")), id="the processor's encoder by name"),
    ],
)
def test_the_processor_encodes_the_rest(card: None, choice: Callable[[], Choice]) -> None:
    assert choice().family.encoder in {family.encoder for family in FAMILIES.values()}


def test_without_a_card_the_file_is_that_of_the_processor(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvenc, "opens", lambda *_: False)
    source = clips("a.mp4", Clip(audio=["eng"]))
    carry_over(source, tmp_path / "here.mp4")
    plan = plan_of(source)
    config = Config(device="cuda")
    stages.render_file(source, plan, tmp_path / "card.mp4", config, lambda *_: None)
    assert (tmp_path / "card.mp4").read_bytes() == (tmp_path / "here.mp4").read_bytes()


def plan_of(source: Path) -> Plan:
    """Nobody in any frame."""
    with Decoder(source) as decoder:
        plan = Plan(decoder.info.time_base)
        for frame in decoder.frames():
            plan.append(frame.pts, ())
    return plan


def test_a_processor_is_never_asked_for_a_cards_encoder(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> bool:
        raise AssertionError

    monkeypatch.setattr(nvenc, "opens", never)
    with Decoder(clips("a.mp4", Clip())) as decoder, Encoder(decoder, tmp_path / "out.mp4") as encoder:
        assert encoder.choice.family.encoder == "libx264"
        for frame in decoder.frames():
            encoder.write(release(frame, (), Config().cover, Ledger(first=frame.index)))


@pytest.mark.gpu
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_real_card_writes_a_file_that_verifies(clips: Clips, tmp_path: Path, codec: str) -> None:
    from veilcast.pipeline.verification import verify

    source = clips("b.mp4", Clip(encoder=FAMILIES[codec].encoder, size=(640, 368), frames=30))
    with Decoder(source) as decoder:
        info = decoder.info
    if not nvenc.opens(Choice(nvenc.CARDS[codec], "yuv420p"), info.width, info.height):
        pytest.skip("no card with an encoder here")
    target = tmp_path / "out.mp4"
    made = stages.render_file(source, plan_of(source), target, Config(device="cuda"), lambda *_: None)
    assert "nvenc" in made.streams[0].reason
    verify(target, made.expected)
