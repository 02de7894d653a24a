"""What fewer bits cost in pictures: faces generated in each precision beside those of float32.

    python -m benchmarks.quantised [--model DIR] [CALIBRATE.mp4 JUDGE.mp4] [--out FILE.json]

The jobs are real: the clips go through the product's own eyes (`--replacewith synthetic`), and what the
generator is asked there is recorded. int8 is what the product runs, by the model's own scales; fp8 is
calibrated on the first clip. The second is judged, of which neither knows anything. PSNR in dB; identity is
the cosine of a recogniser that took no part in training (1 = the same person). fp8 runs here as a processor
computes it, in float32 between its pairs: what it loses, not how fast it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from benchmarks import outcome
from benchmarks.clips import clips_at_hand, named

from veilcast.config import Config, Synthetic
from veilcast.diffusion.sampler import euler
from veilcast.pipeline import batches, checks
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detect import open_detector
from veilcast.pipeline.generate import Generator, Guard, Job, Rendering
from veilcast.pipeline.generator_model import listed, read_manifest
from veilcast.pipeline.plan import Plan
from veilcast.pipeline.stages import detect_file, planned
from veilcast.pipeline.studio import Studio, built_in
from veilcast.training.eight_bits import KEPT
from veilcast.trt_engines.canary import BF16, F32_PLAIN, Rung
from veilcast.trt_engines.engine import Engine, Model, Settings, Tensors, load
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine
from veilcast.trt_engines.openvino_engine import has_bf16
from veilcast.trt_engines.quantise import quantised

CLIPS = ("talk_WDA_a_512.mp4", "talk_vr2_844.mp4")
CONDITIONS = ("veiled", "geometry", "identity")


@dataclass(frozen=True, slots=True)
class Row:
    unet: str
    decoder: str
    psnr_db: float
    psnr_least_db: float
    identity: float
    identity_least: float


class Recorder:
    """A generator that keeps what it is asked."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.jobs: list[Job] = []

    def generate(self, jobs: Sequence[Job]) -> Sequence[Rendering]:
        self.jobs += jobs
        return self._generator.generate(jobs)


class RecordingStudio(Studio):
    recorder: Recorder

    def _guarded(self, generator: Generator) -> Guard:
        self.recorder = Recorder(generator)
        return super()._guarded(self.recorder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named, help=f"two; default: {', '.join(CLIPS)} of ../shared")
    parser.add_argument("--model", type=Path, default=built_in(), help="a generator's folder")
    parser.add_argument("--frames", type=int, default=250, help="of each clip")
    parser.add_argument("--jobs", type=int, default=32, help="of each clip, at most")
    outcome.add_out(parser, "quantised")
    options = parser.parse_args()
    clips = options.clips or clips_at_hand(CLIPS)
    models = Models(fetch=True)
    calibration, judging = seen = [
        _spread(recorded(clip, options.model, models, options.frames), options.jobs) for clip in clips
    ]
    print(f"{[len(jobs) for jobs in seen]} jobs to calibrate and to judge", file=sys.stderr)
    networks = Networks(options.model)
    networks.calibrate(calibration)
    found = list(rows(networks, judging, Persons(models)))
    print(table(found))
    result = {
        "clips": [clip.name for clip in clips],
        "jobs": [len(jobs) for jobs in seen],
        "model": read_manifest(options.model).name,
        "rows": [asdict(row) for row in found],
    }
    outcome.leave(result, options.out)


def recorded(clip: Path, model: Path, models: Models, frames: int) -> list[Job]:
    """What the generator is asked over a clip."""
    config = Config()
    settings = Synthetic(model=model, seed=1)
    with open_detector(config.detect, models) as finder:
        plan = detect_file(clip, config, finder.anew(), lambda *_: None)
    with RecordingStudio(settings, models, patience_s=600) as studio:
        with Decoder(clip) as decoder:
            studio.meet(islice(decoder.frames(), frames), _first(plan, frames), b"benchmark")
        with Decoder(clip) as decoder:
            scenes = ((frame, planned(plan, frame)) for frame in islice(decoder.frames(), frames))
            for _ in studio.painted(scenes):
                pass
        return studio.recorder.jobs


def _first(plan: Plan, frames: int) -> Plan:
    short = Plan(plan.time_base)
    for row in islice(plan, frames):
        short.append(row.pts, row.faces)
    return short


def _spread(jobs: Sequence[Job], count: int) -> list[Job]:
    """Some of them, evenly over all."""
    places = np.unique(np.linspace(0, len(jobs) - 1, min(count, len(jobs))).round().astype(int))
    return [jobs[place] for place in places]


class Networks:
    """The generator's two networks in each precision."""

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        self.times, self.truncation = [float(t) for t in manifest.times], manifest.truncation
        files = listed(folder, manifest)
        self._models = {name: load(files[f"{name}.onnx"]) for name in ("unet", "decoder")}
        self._cases: dict[str, list[Tensors]] = {}
        self._fp8: dict[str, bytes] = {}

    def calibrate(self, jobs: Sequence[Job]) -> None:
        """What both networks see over these jobs, in float32."""
        cases: dict[str, list[Tensors]] = {"unet": [], "decoder": []}
        with self.open("unet", "f32") as unet:
            for job in jobs:
                inputs = self._asked(unet, [job], cases["unet"])
                cases["decoder"].append({"latent": inputs})
        self._cases = cases

    def faces(self, jobs: Sequence[Job], unet: str, decoder: str) -> np.ndarray:
        """(n, 3, 128, 128) in -1..1."""
        with self.open("unet", unet) as asked, self.open("decoder", decoder) as drawn:
            latents = self._asked(asked, jobs, [])
            return batches.run(drawn, {"latent": latents})["rgb"].clip(-1, 1)

    def open(self, name: str, precision: str) -> Engine:
        rung: Rung = BF16 if precision in ("bf16", "int8") and has_bf16() else F32_PLAIN
        return rung.open(Model(self._bytes(name, precision), ".onnx"), Settings())

    def _bytes(self, name: str, precision: str) -> bytes:
        if precision == "fp8":
            if name not in self._fp8:
                plain, kept = self._models[name].plain.data, [KEPT[f"{name}.onnx"]]
                self._fp8[name] = quantised(plain, self._cases[name], ignored=kept, kind="fp8")
            return self._fp8[name]
        model = self._models[name]
        return model.data if precision == "int8" else model.plain.data

    def _asked(self, unet: Engine, jobs: Sequence[Job], seen: list[Tensors]) -> np.ndarray:
        """Latents (n, c, 16, 16) by the product's sampler; what the network was given goes into `seen`."""
        given = {
            name: np.stack([getattr(job, name) for job in jobs]).astype(np.float32) for name in CONDITIONS
        }

        def denoise(x: np.ndarray, t: float) -> np.ndarray:
            inputs = {"x": x.astype(np.float32), "t": np.full(len(x), t, np.float32), **given}
            seen.append(inputs)
            return batches.run(unet, inputs)["clean"]

        noise = self.truncation * np.stack([job.noise for job in jobs])
        latents: np.ndarray = euler(denoise, noise, self.times).astype(np.float32)
        return latents


class Persons:
    """Who a face is, to a recogniser that training has not seen."""

    def __init__(self, models: Models) -> None:
        self._recogniser = checks.faceres(open_engine(models.file("faceres")))

    def of(self, faces: np.ndarray) -> np.ndarray:
        """Unit vectors (n, d)."""
        import cv2

        side = self._recogniser.side
        pixels = ((faces.transpose(0, 2, 3, 1) + 1) * 127.5).round().astype(np.uint8)
        large = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR) for picture in pixels]
        found = np.asarray(self._recogniser.centred(large), np.float64)
        unit: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit


class Judge:
    """Faces of these jobs beside those of float32."""

    def __init__(self, networks: Networks, jobs: Sequence[Job], persons: Persons) -> None:
        self._networks, self._jobs, self._persons = networks, jobs, persons
        self._right = networks.faces(jobs, "f32", "f32")
        self._who = persons.of(self._right)

    def of(self, unet: str, decoder: str) -> Row:
        faces = self._networks.faces(self._jobs, unet, decoder)
        each = 10 * np.log10(4 / np.maximum(np.mean((faces - self._right) ** 2, axis=(1, 2, 3)), 1e-12))
        same = (self._persons.of(faces) * self._who).sum(1)
        return Row(unet, decoder, *(float(v) for v in (each.mean(), each.min(), same.mean(), same.min())))


def rows(networks: Networks, jobs: Sequence[Job], persons: Persons) -> Iterator[Row]:
    judge = Judge(networks, jobs, persons)
    for unet, decoder in (
        ("bf16", "bf16"),
        ("bf16", "int8"),
        ("int8", "bf16"),
        ("int8", "int8"),
        ("bf16", "fp8"),
        ("fp8", "bf16"),
        ("fp8", "fp8"),
    ):
        yield judge.of(unet, decoder)


def table(found: Sequence[Row]) -> str:
    lines = ["| denoiser | decoder | PSNR (least), dB | identity (least) |", "|---|---|---|---|"]
    for row in found:
        psnr = f"{row.psnr_db:.1f} ({row.psnr_least_db:.1f})"
        identity = f"{row.identity:.3f} ({row.identity_least:.3f})"
        lines.append(f"| {row.unet} | {row.decoder} | {psnr} | {identity} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
