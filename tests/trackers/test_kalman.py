import subprocess
import sys
from math import pi, sin

import pytest

from veilcast.trackers import kalman
from veilcast.types import Box


def box(x: float, y: float, side: float) -> Box:
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def followed(rate: float, seconds: float = 1.0, speed: float = 100.0) -> kalman.State:
    """A face of 50 px that walks at `speed` px/s, detected `rate` times a second."""
    state = kalman.start(box(0, 0, 50))
    for n in range(1, round(seconds * rate) + 1):
        state = kalman.update(kalman.predict(state, 1 / rate), box(speed * n / rate, 0, 50))
    return state


def test_velocity_is_learnt_in_pixels_a_second_at_any_rate() -> None:
    for rate in (10, 25, 60):
        assert followed(rate).mean[4] == pytest.approx(100, rel=0.15)


def test_a_prediction_follows_the_motion_and_comes_to_rest() -> None:
    state = followed(25)
    soon, late, later = (kalman.predict(state, dt).mean[0] for dt in (0.1, 8, 16))
    assert soon == pytest.approx(110, abs=3)
    assert later - late < 1


def test_uncertainty_grows_with_the_time_not_seen() -> None:
    state = followed(25)
    spreads = [kalman.spread_px(kalman.predict(state, dt)) for dt in (0, 0.2, 0.5, 1)]
    assert spreads == sorted(spreads)
    assert spreads[-1] > 5 * spreads[0]


def test_a_prediction_into_the_past_undoes_the_motion() -> None:
    state = followed(25)
    assert kalman.predict(state, -0.1).mean[0] == pytest.approx(90, abs=3)
    assert kalman.spread_px(kalman.predict(state, -0.5)) > kalman.spread_px(state)


def test_motion_is_relative_to_the_size_of_the_face() -> None:
    small, large = (kalman.predict(kalman.start(box(0, 0, side)), 0.5) for side in (20, 200))
    assert kalman.spread_px(large) == pytest.approx(10 * kalman.spread_px(small), rel=1e-6)


def test_smoothing_knows_the_velocity_at_the_first_detection() -> None:
    times = [n / 25 for n in range(10)]
    states = kalman.smooth([box(100 * t, 0, 50) for t in times], times)
    assert states[0].mean[4] == pytest.approx(100, rel=0.15)


def test_smoothing_gives_one_state_for_one_detection() -> None:
    (state,) = kalman.smooth([box(5, 6, 50)], [0.0])
    assert kalman.box_of(state).centre == pytest.approx((5, 6))
    assert kalman.box_of(state).width == pytest.approx(50)


def test_between_two_detections_the_curve_is_followed_and_doubt_is_greatest_in_the_middle() -> None:
    times = [n / 25 for n in range(60) if not 20 <= n < 35]
    states = kalman.smooth([box(100 * sin(pi * t), 0, 50) for t in times], times)
    before, after = states[19], states[20]
    gap = times[20] - times[19]
    middle = kalman.between(before, after, gap, 0.5)
    truth = 100 * sin(pi * (times[19] + gap / 2))
    assert middle.mean[0] == pytest.approx(truth, abs=5)
    spreads = [kalman.spread_px(kalman.between(before, after, gap, s)) for s in (0, 0.25, 0.5, 0.75, 1)]
    assert max(spreads) == spreads[2]


def test_a_box_without_size_counts_as_a_pixel() -> None:
    assert kalman.box_of(kalman.start(Box(3, 3, 3, 3))).width == pytest.approx(1)


def test_the_filter_comes_without_the_rest_of_its_package() -> None:
    # scipy.stats and matplotlib cost a second of every start
    code = (
        "import sys, veilcast.trackers.kalman;"
        "print([m for m in ('filterpy', 'filterpy.stats', 'scipy.stats', 'matplotlib') if m in sys.modules]);"
        "from filterpy.kalman import KalmanFilter; print(KalmanFilter.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "filterpy.kalman.kalman_filter"]
