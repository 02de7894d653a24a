"""New faces from a generator that is not trusted: batches go in, and what comes out counts only where it
is whole, fresh, in time and meant for the face that asked.

A generator never sees the face that it replaces: a `Job` holds the veiled picture, pose and
expression, and who the new person is. Whatever fails here is a `Refusal`, and the face of a refusal
is covered solid.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import cv2
import numpy as np

from veilcast.arrays import Float32
from veilcast.diffusion.sampler import euler
from veilcast.errors import VeilcastError
from veilcast.pipeline import batches
from veilcast.trt_engines.engine import Engine
from veilcast.types import Rgb

Key = tuple[int, int, int]  # frame index, track, counter of the draw

_FLAT = 0.02  # standard deviation of a picture in [-1, 1] that shows nothing
_MEMORY = 4096  # renderings remembered, to know a stale one
_RANGE = 2.0  # beyond it a value is no colour, even of an unclipped decoder


@dataclass(frozen=True, slots=True)
class Job:
    """One face to render."""

    key: Key
    side: int  # pixels of the rendering wanted
    veiled: Float32[np.ndarray, "4 128 128"] = field(repr=False)
    geometry: Float32[np.ndarray, " 61"] = field(repr=False)
    identity: Float32[np.ndarray, " d"] = field(repr=False)
    noise: Float32[np.ndarray, "c 16 16"] = field(repr=False)
    hurry: bool = False  # in one step, however many the model takes

    def digest(self) -> bytes:
        """Of everything that decides the rendering."""
        state = hashlib.sha256(self.side.to_bytes(4, "big") + bytes([self.hurry]))
        for values in (self.veiled, self.geometry, self.identity, self.noise):
            state.update(np.ascontiguousarray(values).data)
        return state.digest()


@dataclass(frozen=True, slots=True)
class Rendering:
    """The answer to the job of the same key: RGB (3, side, side) in [-1, 1]."""

    key: Key
    image: Float32[np.ndarray, "3 s s"] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a face must be covered solid. `close`: because it is too much like somebody; another draw of
    the persona may do better, or its rendering before this one. `former`: that one needs no second look."""

    reason: str
    close: bool = False
    former: bool = False


class Generator(Protocol):
    """What renders faces: one answer for each job, in any order."""

    def generate(self, jobs: Sequence[Job]) -> Sequence[Rendering]: ...


class DiffusionGenerator:
    """The latent diffusion model: noise -> latent in few steps -> picture. `decoders` by side. `truncation`:
    the share of the noise that it begins from (Brock et al. 2019, section 3.1); less of it draws fewer faces
    that are far from all others."""

    def __init__(
        self, unet: Engine, decoders: Mapping[int, Engine], times: Sequence[float], truncation: float = 1.0
    ) -> None:
        self._unet, self._decoders, self._times, self._truncation = unet, decoders, times, truncation

    def generate(self, jobs: Sequence[Job]) -> list[Rendering]:
        found: list[Rendering] = []
        for hurry in (False, True):
            some = [job for job in jobs if job.hurry is hurry]
            found += self._rendered(some, self._times[:1] if hurry else self._times) if some else []
        return found

    def _rendered(self, jobs: Sequence[Job], times: Sequence[float]) -> list[Rendering]:
        conditions = {
            name: np.stack([getattr(job, name) for job in jobs]).astype(np.float32)
            for name in ("veiled", "geometry", "identity")
        }

        def denoise(x: np.ndarray, t: float) -> np.ndarray:
            inputs = {"x": x.astype(np.float32), "t": np.full(len(x), t, np.float32), **conditions}
            return batches.run(self._unet, inputs)["clean"]

        latents = euler(denoise, self._truncation * np.stack([job.noise for job in jobs]), times)
        return [
            rendering
            for side in sorted({job.side for job in jobs})
            for rendering in self._decoded(side, jobs, latents)
        ]

    def _decoded(self, side: int, jobs: Sequence[Job], latents: np.ndarray) -> list[Rendering]:
        rows = [row for row, job in enumerate(jobs) if job.side == side]
        pictures = batches.run(self._decoders[side], {"latent": latents[rows].astype(np.float32)})["rgb"]
        return [Rendering(jobs[row].key, picture) for row, picture in zip(rows, pictures, strict=True)]


class Guard:
    """Runs a generator in a thread of its own and lets nothing pass that is late, broken or stale.

    A generator that did not answer in time is never asked again: it may hang for ever, and its late
    answer may be meant for anybody. The process that it hangs in is its parent's to replace.
    """

    def __init__(self, generator: Generator, timeout_s: float = 30.0) -> None:
        self._generator, self._timeout_s = generator, timeout_s
        self._questions: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Sequence[Rendering] | Exception] = queue.SimpleQueue()
        self._lost = False
        self._seen: dict[bytes, bytes] = {}  # digest of a rendering -> of the job that it answered
        threading.Thread(target=self._work, name="generator", daemon=True).start()

    @property
    def lost(self) -> bool:
        """The generator hung, once: every face from then on is refused."""
        return self._lost

    def close(self) -> None:
        self._questions.put(None)

    def render(self, jobs: Sequence[Job]) -> dict[Key, Rgb | Refusal]:
        """An answer for the key of every job, never anything else and never an exception."""
        if not jobs:
            return {}
        if self._lost:
            return _all(jobs, "generator lost")
        self._questions.put(jobs)
        try:
            answer = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            self._lost = True
            return _all(jobs, "generator hangs")
        if isinstance(answer, Exception):
            return _all(jobs, f"generator failed: {type(answer).__name__}")
        return self._checked(jobs, answer)

    def _work(self) -> None:
        while (jobs := self._questions.get()) is not None:
            try:
                self._answers.put(list(self._generator.generate(jobs)))
            except Exception as error:  # noqa: BLE001 - whatever it is, the faces are covered solid
                self._answers.put(error)
            except BaseException:  # noqa: BLE001 - SystemExit and its like end a thread in silence
                self._answers.put(VeilcastError("the generator tried to end the process"))

    def _checked(self, jobs: Sequence[Job], answers: Sequence[Rendering]) -> dict[Key, Rgb | Refusal]:
        asked = {job.key: job for job in jobs}
        keys = [getattr(answer, "key", None) for answer in answers]
        if len(asked) != len(jobs) or len(set(keys)) != len(keys) or not set(keys) <= set(asked):
            return _all(jobs, "answers for other faces")  # whose faces the rest show is anyone's guess
        result = _all(jobs, "no answer")
        for answer in answers:
            result[answer.key] = _picture(asked[answer.key], answer.image)
        whole = [answer for answer in answers if not isinstance(result[answer.key], Refusal)]
        for key in self._stale({answer.key: _digest(answer.image) for answer in whole}, asked):
            result[key] = Refusal("stale")
        return result

    def _stale(self, renderings: Mapping[Key, bytes], asked: Mapping[Key, Job]) -> list[Key]:
        """Answers with the very bytes that another job was answered with, in this batch or before."""
        claims, jobs = dict(self._seen), {key: asked[key].digest() for key in renderings}
        for key, digest in renderings.items():
            if claims.setdefault(digest, jobs[key]) != jobs[key]:
                claims[digest] = b"several"
        fresh = {digest: claims[digest] for digest in renderings.values()}
        self._seen = dict(islice({**self._seen, **fresh}.items(), max(len(self._seen) - _MEMORY, 0), None))
        return [key for key, digest in renderings.items() if claims[digest] != jobs[key]]


def _picture(job: Job, image: object) -> Rgb | Refusal:
    if not isinstance(image, np.ndarray) or image.shape != (3, job.side, job.side):
        return Refusal("wrong size")
    if image.dtype != np.float32:
        return Refusal("not a number")
    ends = np.array([image.min(), image.max()])  # what is not finite shows in one of them
    if not np.isfinite(ends).all():
        return Refusal("not a number")
    if np.abs(ends).max() > _RANGE:
        return Refusal("not a picture")
    rgb = cv2.merge(list(image))
    if cv2.meanStdDev(rgb)[1].max() < _FLAT:
        return Refusal("flat")
    # to the nearest whole number, and what is beyond 0 to 255 to its end
    picture: Rgb = cv2.addWeighted(rgb, 127.5, rgb, 0, 127.5, dtype=cv2.CV_8U)
    return picture


def _all(jobs: Sequence[Job], reason: str) -> dict[Key, Rgb | Refusal]:
    return {job.key: Refusal(reason) for job in jobs}


def _digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()
