"""The motion of one box: a Kalman filter over position and size, as pure functions.

State, 8 numbers: centre x, centre y, log width, log height, then their rates per second. Velocities
are Ornstein-Uhlenbeck processes (constant velocity that is forgotten with time constants `MEMORY_S`
and `SCALING_MEMORY_S`), so that a prediction over a long gap comes to rest instead of leaving the
picture. Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation" (2001),
8.2 (exponentially correlated velocity); Rauch, Tung, Striebel (1965) for the smoother. All noise is
relative to the size of the face: a head moves in heads a second whatever the picture's resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np

from veilcast.arrays import Float64
from veilcast.trackers.filters import kalman_filter
from veilcast.types import Box

_filter = kalman_filter()

MEMORY_S = 1.0  # how long a velocity is believed
SCALING_MEMORY_S = 0.3  # and a change of size: boxes of one detection to the next differ more than faces
ACCELERATION = 1.5  # heads / s^1.5: spectral density of the change of velocity
SCALING = 0.6  # the same for log size
CENTRE_NOISE = 0.05  # of a detection, in heads
SIZE_NOISE = 0.08  # of a detection, in log size
START_SPEED = 2.0  # heads a second: how fast a new face may be
START_SCALING = 0.5  # log size a second

_MEASURED = np.eye(4, 8)


class State(NamedTuple):
    mean: Float64[np.ndarray, " 8"]
    cov: Float64[np.ndarray, "8 8"]


def size_px(state: State) -> float:
    """Geometric mean of width and height."""
    return exp((state.mean[2] + state.mean[3]) / 2)


def box_of(state: State) -> Box:
    x, y, log_w, log_h = state.mean[:4].tolist()
    half_w, half_h = exp(log_w) / 2, exp(log_h) / 2
    return Box(x - half_w, y - half_h, x + half_w, y + half_h)


def spread_px(state: State) -> float:
    """Standard deviation of the centre."""
    return sqrt(max(0.0, float(state.cov[0, 0])))


def start(box: Box) -> State:
    mean = np.concatenate([_measurement(box), np.zeros(4)])
    head = _head(mean)
    deviation = [CENTRE_NOISE * head] * 2 + [SIZE_NOISE] * 2 + [START_SPEED * head] * 2 + [START_SCALING] * 2
    return State(mean, np.diag(np.square(deviation)))


def predict(state: State, dt_s: float) -> State:
    """The state `dt_s` later; a negative `dt_s` extrapolates into the past."""
    if dt_s == 0:
        return state
    return State(
        *_filter.predict(
            state.mean, state.cov, F=_transition(dt_s), Q=_process_noise(abs(dt_s), _head(state.mean))
        )
    )


def update(state: State, box: Box) -> State:
    head = _head(state.mean)
    noise = np.diag(np.square([CENTRE_NOISE * head] * 2 + [SIZE_NOISE] * 2))
    return State(*_filter.update(state.mean, state.cov, _measurement(box), noise, _MEASURED))


def smooth(boxes: Sequence[Box], times_s: Sequence[float]) -> list[State]:
    """The states at the detections `boxes`, each given all detections before and after it."""
    states = [start(boxes[0])]
    steps = np.diff(times_s)
    for box, dt in zip(boxes[1:], steps, strict=True):
        states.append(update(predict(states[-1], float(dt)), box))
    if len(states) == 1:
        return states
    means, covs, _, _ = _filter.rts_smoother(
        np.stack([s.mean for s in states]),
        np.stack([s.cov for s in states]),
        [_transition(float(dt)) for dt in steps],
        [_process_noise(float(dt), _head(s.mean)) for s, dt in zip(states[:-1], steps, strict=True)],
    )
    return [State(mean, cov) for mean, cov in zip(means, covs, strict=True)]


def between(before: State, after: State, gap_s: float, share: float) -> State:
    """The state at `share` (0 to 1) of the gap: the cubic that meets both positions and velocities,
    which is the mean of the constant-velocity process pinned at both ends; the variance is that of
    its bridge, q T^3 s^3 (1 - s)^3 / 3, over the interpolated one of the ends."""
    s, r = share, 1 - share
    position = (
        (1 + 2 * s) * r * r * before.mean[:4]
        + s * s * (3 - 2 * s) * after.mean[:4]
        + gap_s * s * r * (r * before.mean[4:] - s * after.mean[4:])
    )
    mean = np.concatenate([position, r * before.mean[4:] + s * after.mean[4:]])
    cov = r * before.cov + s * after.cov
    densities = np.square([ACCELERATION * _head(mean)] * 2 + [SCALING] * 2)
    cov.reshape(-1)[: 4 * 9 : 9] += densities * (gap_s * s * r) ** 3 / 3
    return State(mean, cov)


def _measurement(box: Box) -> Float64[np.ndarray, " 4"]:
    # a box of no size has no logarithm; a face smaller than a pixel is a pixel
    return np.array([*box.centre, log(max(box.width, 1.0)), log(max(box.height, 1.0))])


def _head(mean: Float64[np.ndarray, " 8"]) -> float:
    return exp((mean[2] + mean[3]) / 2)


# a video has few distances between frames that were looked at
@lru_cache(maxsize=256)
def _transition(dt_s: float) -> Float64[np.ndarray, "8 8"]:
    memory = np.array([MEMORY_S] * 2 + [SCALING_MEMORY_S] * 2)
    kept = np.exp(-abs(dt_s) / memory)
    matrix = np.eye(8)
    matrix[range(4), range(4, 8)] = memory * (1 - kept) * (1 if dt_s > 0 else -1)
    matrix[range(4, 8), range(4, 8)] = kept
    return matrix


def _process_noise(dt_s: float, head: float) -> Float64[np.ndarray, "8 8"]:
    """White noise acceleration: q [[dt^3 / 3, dt^2 / 2], [dt^2 / 2, dt]] for each coordinate."""
    centre, size = _unit_noise(dt_s)
    noise: Float64[np.ndarray, "8 8"] = centre * (head * head) + size
    return noise


@lru_cache(maxsize=256)
def _unit_noise(dt_s: float) -> tuple[Float64[np.ndarray, "8 8"], Float64[np.ndarray, "8 8"]]:
    """The process noise of the centre for a head of one pixel, and that of the log size."""
    block = np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])
    one, other = np.diag([1.0, 1.0, 0.0, 0.0]), np.diag([0.0, 0.0, 1.0, 1.0])
    return np.kron(block, ACCELERATION**2 * one), np.kron(block, SCALING**2 * other)
