"""A worker that renders faces by the shared generator, and what it should render."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np

from veilcast.pipeline import worker
from veilcast.pipeline.generate import Generator, Job
from veilcast.pipeline.generator_line import LineGenerator


def job(number: int, key: tuple[int, int, int] = (0, 1, 0), side: int = 128) -> Job:
    """A face to render; the same number, the same face."""
    rng = np.random.default_rng(number)

    def noise(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return Job(key, side, noise(4, 128, 128), noise(61), noise(128), noise(8, 16, 16))


def rendered(generator: Generator) -> str:
    """Hash of three faces of two sizes."""
    jobs = [job(n, (0, n, 0), side) for n, side in enumerate((128, 256, 128))]
    digest = hashlib.sha256()
    for rendering in sorted(generator.generate(jobs), key=lambda r: r.key):
        digest.update(rendering.image.tobytes())
    return digest.hexdigest()


def kill(actor: Any) -> None:
    import ray

    ray.kill(actor, no_restart=False)


def perform(job: dict[str, Any], on_frame: object, tools: object) -> dict[str, Any]:
    line = LineGenerator(job["generator"])
    told = line.offer(120)
    return {"digest": rendered(line), "model": told.model}


if __name__ == "__main__":
    from veilcast.pipeline import tasks

    tasks.perform = perform  # type: ignore[assignment]
    worker.main(int(sys.argv[-1]))
