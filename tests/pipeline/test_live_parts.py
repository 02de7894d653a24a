"""The parts of a live session that are pure, or nearly: clocks, back-off, overload, ladder, addresses."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
import pytest

from veilcast.config import Config, overlay
from veilcast.errors import ConfigError, PrivacyTripped, VeilcastError, WorkerDied
from veilcast.pipeline import publish, receive
from veilcast.pipeline.addresses import (
    Secret,
    holds_password,
    parse_input,
    parse_output,
    read_credentials,
)
from veilcast.pipeline.backoff import Backoff
from veilcast.pipeline.clocks import TICKS, Clock
from veilcast.pipeline.ladder import Ladder
from veilcast.pipeline.mixer import RATE, Mixer
from veilcast.pipeline.overload import Level, Overload
from veilcast.pipeline.watching import check_config

PERIOD = Fraction(1, 25)


def ticks(clock: Clock, times: list[Fraction | None], arrivals: list[float] | None = None) -> list[int]:
    arrivals = arrivals or [n / 25 for n in range(len(times))]
    return [clock.at(time, arrived) for time, arrived in zip(times, arrivals, strict=True)]


def test_a_sound_clock_is_kept_to_the_tick() -> None:
    clock = Clock()
    jitter = [n / 25 + (n % 3) * 0.01 for n in range(50)]
    found = ticks(clock, [1000 + n * PERIOD for n in range(50)], jitter)
    assert np.diff(found).tolist() == [3600] * 49
    assert clock.jumps == 0
    assert clock.usual == 3600


@pytest.mark.parametrize(
    "jump", [Fraction(3600), Fraction(-3600), Fraction(2**33, 90000), -Fraction(2**33, 90000)]
)
def test_a_clock_that_jumps_or_wraps_goes_on(jump: Fraction) -> None:
    clock = Clock()
    times: list[Fraction | None] = [5000 + n * PERIOD + (jump if n >= 20 else 0) for n in range(40)]
    found = ticks(clock, times)
    steps = np.diff(found)
    assert (steps > 0).all()
    assert steps.max() < TICKS / 5
    assert clock.jumps == 1


def test_a_clock_that_says_nothing_or_stands_still_is_replaced() -> None:
    for times in ([None] * 30, [Fraction(7)] * 30):
        found = ticks(Clock(), list(times))
        assert (np.diff(found) > 0).all()
        assert abs(found[-1] - 29 * 3600) < TICKS


def test_the_first_picture_may_have_no_time() -> None:
    found = ticks(Clock(), [None, *[n * PERIOD for n in range(1, 20)]])
    assert (np.diff(found) > 0).all()


def test_a_new_connection_goes_on_in_time() -> None:
    clock = Clock()
    before = ticks(clock, [n * PERIOD for n in range(10)])
    clock.restart()
    after = ticks(clock, [77 + n * PERIOD for n in range(10)], [5 + n / 25 for n in range(10)])
    assert after[0] == 5 * TICKS > before[-1]
    assert np.diff(after).tolist() == [3600] * 9


def test_missing_pictures_are_a_gap() -> None:
    clock = Clock()
    ticks(clock, [n * PERIOD for n in range(10)])
    clock.at(10 * PERIOD, 0.4)
    assert not clock.gap
    clock.at(12 * PERIOD, 0.48)
    assert clock.gap


def test_what_a_network_holds_back_is_counted_by_the_cameras_own_clock() -> None:
    """Two seconds of nothing, then all at once: whoever moves in the pictures has moved by their own time."""
    clock, counts = Clock(), []
    for n in range(100):
        clock.at(n * PERIOD, n / 25 if n < 20 else 3.0 + n / 1000)
        counts.append(clock.count)
        assert not clock.broken
    assert np.diff(counts).tolist() == [3600] * 99


@pytest.mark.parametrize("jump", [Fraction(3600), Fraction(-1, 2)])
def test_nobody_knows_how_long_it_was_to_a_picture_behind_a_jump(jump: Fraction) -> None:
    clock, broken = Clock(), []
    for n in range(40):
        clock.at(n * PERIOD + (jump if n >= 20 else 0), n / 25)
        broken.append(clock.broken)
    assert [n for n, is_broken in enumerate(broken) if is_broken] == [20]


def test_a_slow_camera_is_no_broken_one() -> None:
    clock = Clock()
    for n in range(20):
        clock.at(Fraction(n), float(n))
        assert not clock.broken


def test_waiting_grows_to_a_cap_and_is_never_in_step() -> None:
    longest = Backoff(0.5, 10, uniform=lambda low, high: high)
    assert [longest.next_s() for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    longest.reset()
    assert longest.next_s() == 0.5
    waits = {Backoff(0.5, 10).next_s() for _ in range(20)}
    assert len(waits) > 10
    assert all(0.25 <= wait <= 0.5 for wait in waits)


def test_levels_come_in_order_and_go_slowly() -> None:
    load, seen, now_s = Overload(1.0), [], 0.0
    for _ in range(20):
        now_s += 0.04
        seen.append(load.saw(0.9, now_s))
    assert list(dict.fromkeys(seen)) == list(Level)
    assert seen.index(Level.SCALES) == 2
    for _ in range(70):
        now_s += 0.04
        load.saw(0.1, now_s)
    assert load.level == Level.SLATE  # 2.8 s of calm are not enough
    for _ in range(2000):
        now_s += 0.04
        load.saw(0.1, now_s)
    assert load.level.name == "FULL"


def test_a_level_that_was_left_too_early_is_kept_longer() -> None:
    load, now_s, eased = Overload(1.0, Level.SCALES), 0.0, []
    for _ in range(4000):
        now_s += 0.04
        before = load.level
        load.saw(0.9 if before is Level.FULL else 0.1, now_s)
        if load.level < before:
            eased.append(now_s)
    gaps = np.diff(eased)
    assert gaps[-1] > 4 * gaps[0]


def test_the_ladder_ends_and_stays_at_its_end() -> None:
    ladder, died = Ladder(3), WorkerDied("died")
    waits = [ladder.failed(died, float(n)) for n in range(4)]
    assert waits == [0.25, 0.5, 1.0, None]
    assert ladder.failed(died, 1000.0) is None
    assert ladder.ended


def test_failures_far_apart_do_not_end_the_ladder() -> None:
    ladder = Ladder(3)
    assert all(ladder.failed(WorkerDied("died"), n * 61.0) == 0.25 for n in range(50))


@pytest.mark.parametrize("error", [ConfigError("no"), PrivacyTripped("no")])
def test_what_another_try_cannot_mend_ends_it_at_once(error: ConfigError | PrivacyTripped) -> None:
    assert Ladder(3).failed(error, 0.0) is None


PASSWORD = "p@ss:w/rd?#[]"


@pytest.mark.parametrize("kind", ["address", "file"])
def test_secrets_do_not_show(kind: str, tmp_path: Path) -> None:
    if kind == "address":
        address = parse_input("rtsp://anna:p%40ss%3Aw%2Frd%3F%23%5B%5D@10.0.0.1/s?token=t0ken")
    else:
        (tmp_path / "login").write_text(f"anna:{PASSWORD}\n")
        address = parse_input("rtsp://10.0.0.1/s?token=t0ken", read_credentials(tmp_path / "login"))
    assert address.credentials is not None
    assert address.credentials.reveal() == f"anna:{PASSWORD}"
    again = parse_input(address.reveal())
    assert again.credentials is not None
    assert again.credentials.reveal() == f"anna:{PASSWORD}"
    for text in (str(address), repr(address), f"{address}", repr([address]), f"{address.credentials!s:>20}"):
        assert "p@ss" not in text
        assert "t0ken" not in text
        assert "anna" not in text
    assert "t0ken" in address.reveal()


@pytest.mark.parametrize("doing", ["publishing", "reading"])
def test_a_server_that_refuses_is_told_in_our_own_words(doing: str) -> None:
    """The library's hold the whole address."""
    address = parse_output("rtsp://anna:pa55-w0rd@server/live")
    refused = av.error.HTTPUnauthorizedError(401, "Server returned 401", address.reveal())
    words = publish.translated(address) if doing == "publishing" else receive.translated(address, doing)
    with pytest.raises(VeilcastError) as told, words:
        raise refused
    assert str(told.value) == f"{address} refuses the credentials, or wants some"
    assert "pa55-w0rd" not in str(told.value)


def test_the_key_of_a_stream_is_a_secret() -> None:
    assert str(parse_output("rtmp://host/app/s3cret")) == "rtmp://host:1935/app/***"


def test_a_secret_is_not_formatted() -> None:
    secret = Secret("x1y2")
    assert "x1y2" not in f"{secret} {secret!r} {secret!s:>10} %s" % (secret,)
    assert isinstance(pickle.dumps(1), bytes)


@pytest.mark.parametrize(
    "text",
    ["", "ftp://host/x", "rtsp://", "rtsp:///x", "file:///etc/passwd", "concat:a|b", "rtsp://ho st/x",
     "rtsp://host:99999/x", "udp://host", "rtsp://host/\r\nX: y", "/dev/../x", "rtsp://" + "a" * 4000],
)  # fmt: skip
def test_what_is_no_input_is_refused_or_a_file(text: str) -> None:
    if text == "concat:a|b":  # a file of that name
        assert parse_input(text).path.endswith("/concat:a|b")
        return
    with pytest.raises(ConfigError) as caught:
        parse_input(text)
    assert "\n" not in str(caught.value)


def test_a_password_in_an_address_is_noticed() -> None:
    assert holds_password("rtsp://a:b@host/x")
    assert holds_password("rtsp://a@host")
    assert not holds_password("rtsp://host/a@b")
    assert not holds_password("file@x")


def test_outputs_are_told_apart() -> None:
    kinds = {
        text: parse_output(text).kind for text in ("rtsp://h/x", "a/b.m3u8", "folder/", "x.mkv", "udp://h:1")
    }
    assert list(kinds.values()) == ["rtsp", "hls", "segments", "file", "udp"]
    with pytest.raises(ConfigError, match="cannot be an output"):
        parse_output("http://host/x.m3u8")


@pytest.mark.parametrize(
    "change",
    [{"start_s": 1.0}, {"end_s": 2.0}, {"cover.allow_keep": True}, {"live.look_ahead_s": 0.5}],
)
def test_settings_that_would_show_a_face_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        check_config(overlay(Config(), change))


def test_sound_is_heard_at_its_time_and_not_while_a_slate_is_shown() -> None:
    mixer = Mixer(TICKS // 2)
    mixer.put(0, np.ones((2, RATE), np.float32))
    mixer.muted = False
    assert mixer.take(0, 100).max() == 0
    assert mixer.take(TICKS // 2, 100).min() == 1
    mixer.muted = True
    assert mixer.take(TICKS // 2 + 9000, 100).max() == 0
    mixer.muted = False
    edge = mixer.take(TICKS + TICKS // 2 - TICKS * 50 // RATE, 100)
    assert edge[0].tolist() == [1] * 50 + [0] * 50
