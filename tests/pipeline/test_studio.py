"""A whole file with synthetic faces: models checked before any work, the same key the same bytes, and a
model whose faces are no faces ends in solid covers."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from tests.pipeline.synthetic_world import (
    FakeEngine,
    Honest,
    embed,
    find_mesh,
    frame,
    person_of,
    texture,
    track,
)
from tests.pipeline.test_synthetic import likeness, solid
from tests.pipeline.tiny_model import write_manifest, write_model

from veilcast.config import Config, Cover, Limits, Synthetic
from veilcast.diffusion.draw import gaussian
from veilcast.diffusion.weights import read_tensors, write_tensors
from veilcast.errors import ConfigError, EngineError, ModelCorrupt, ModelMissing
from veilcast.pipeline.cover import cover, regions
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.generate import Generator, Job, Rendering
from veilcast.pipeline.generator_model import CONSTANTS, MOST_ASKED, GeneratorModel
from veilcast.pipeline.plan import Plan
from veilcast.pipeline.stages import planned, render_file
from veilcast.pipeline.studio import Studio
from veilcast.trt_engines.engine import Engine, Settings, load
from veilcast.trt_engines.models import ModelFile, Models
from veilcast.trt_engines.openvino_engine import OpenVinoEngine
from veilcast.types import Track

FRAMES = 5


def opened(file: ModelFile) -> Engine:
    """The generator's networks as they are, this world's networks for third-party roles."""
    if "landmarks478" in file.path.name:
        return FakeEngine(find_mesh)
    if "dlib" in file.path.name:
        return FakeEngine(embed)
    if "faceres" in file.path.name:
        return FakeEngine(lambda rgb: {"embedding": np.tile(embed(rgb)["embedding"], 8)})
    return OpenVinoEngine(load(file), Settings(threads=1), precision="f32", snippets=False)


class NoFiles(Models):
    """Third-party weights are never read here."""

    def file(self, name: str) -> ModelFile:
        return ModelFile(Path(name), "0" * 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = write_model(tmp_path_factory.mktemp("model"))
    return found


def tracks(index: int) -> list[Track]:
    return [track(1, dx=2 * index), track(2, dx=-index)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "two.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width = stream.height = 320
        stream.pix_fmt = "yuv444p"
        for index in range(FRAMES):
            picture = np.dstack(frame(index, tracks(index)).planes)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))
    return path


def plan_of(clip: Path) -> Plan:
    with Decoder(clip, Limits()) as decoder:
        plan = Plan(decoder.info.time_base)
        for shown in decoder.frames():
            plan.append(shown.pts, tracks(shown.index))
    return plan


def settings(folder: Path, **more: object) -> Synthetic:
    return Synthetic(model=folder, **{"seed": 1, **more})


class WithGenerator(Studio):
    """The same studio with another generator than the folder's."""

    generator: Generator = Honest()

    def _guarded(self, generator: Generator):  # type: ignore[no-untyped-def]
        return super()._guarded(self.generator)


def rendered(
    clip: Path, target: Path, folder: Path, studio_of: type[Studio] = Studio, nonce: bytes = b"n" * 32
) -> dict[str, int]:
    plan, config = plan_of(clip), Config(cover=Cover(replacewith="synthetic"))
    with studio_of(settings(folder), NoFiles(), opened) as studio:
        with Decoder(clip, config.limits) as decoder:
            studio.meet(decoder.frames(), plan, nonce)
        render_file(clip, plan, target, config, lambda *progress: None, painted=studio.painted)
        counts: dict[str, int] = studio.told()["counts"]
        return counts


def test_with_random_weights_every_face_is_refused_and_covered_solid(
    clip: Path, tmp_path: Path, folder: Path
) -> None:
    counts = rendered(clip, tmp_path / "out.mkv", folder)
    assert sum(count for reason, count in counts.items() if "solid" in reason) == 2 * FRAMES
    assert "faces generated" not in counts
    plan = plan_of(clip)
    with Decoder(tmp_path / "out.mkv", Limits()) as decoder:
        shown = 0
        for after in decoder.frames():
            assert all(solid(after, face) for face in planned(plan, after))
            shown += 1
    assert shown == FRAMES


def test_with_a_generator_that_draws_people_each_becomes_another_one(
    clip: Path, tmp_path: Path, folder: Path
) -> None:
    counts = rendered(clip, tmp_path / "out.mkv", folder, WithGenerator)
    assert counts["personas issued"] == 2
    assert counts["faces generated"] + counts["faces carried"] == 2 * FRAMES
    with av.open(str(tmp_path / "out.mkv")) as out:
        assert "compositeWithTrainedAlgorithmicMedia" in out.metadata["COMMENT"]
    plan = plan_of(clip)
    with Decoder(tmp_path / "out.mkv", Limits()) as decoder:
        for after in decoder.frames():
            for face in planned(plan, after):
                assert not solid(after, face)
                assert likeness(after, face, face.id) < 0.7


def test_people_of_a_still_picture_become_others_too(folder: Path) -> None:
    shown, faces = frame(0, tracks(0)), tracks(0)
    with WithGenerator(settings(folder), NoFiles(), opened) as studio:
        painters, _ = studio.still(shown, faces, b"p" * 32)
    cover(shown, regions(faces, (), shown.displayed_size, Cover()), Cover(), painters)
    for face in faces:
        assert not solid(shown, face)
        assert likeness(shown, face, face.id) < 0.7


def test_the_same_file_and_key_give_the_same_bytes_and_another_key_other_faces(
    clip: Path, tmp_path: Path, folder: Path
) -> None:
    def bytes_of(name: str, nonce: bytes) -> str:
        rendered(clip, tmp_path / name, folder, WithGenerator, nonce)
        return hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

    first = bytes_of("a.mkv", b"n" * 32)
    assert first == bytes_of("b.mkv", b"n" * 32)
    assert first != bytes_of("c.mkv", b"m" * 32)


def test_the_same_job_gives_the_same_rendering_and_another_identity_another(folder: Path) -> None:
    rng = np.random.default_rng(0)
    job = Job(
        (0, 1, 0),
        128,
        rng.normal(size=(4, 128, 128)).astype(np.float32),
        rng.normal(size=61).astype(np.float32),
        rng.normal(size=128).astype(np.float32),
        gaussian(b"seed", "noise", 8, 16, 16).astype(np.float32),
    )
    other = replace(job, key=(0, 2, 0), identity=-job.identity)
    large = replace(job, key=(0, 3, 0), side=256)
    with GeneratorModel(folder, opened) as model:
        assert model.sides == (128, 256)
        assert model.latent_shape == (8, 16, 16)
        alone = model.generator.generate([job])[0]
        many: dict[int, Rendering] = {r.key[1]: r for r in model.generator.generate([large, other, job])}
    assert np.abs(alone.image - many[1].image).max() < 1e-5
    assert np.abs(alone.image - many[2].image).max() > 1e-2
    assert many[3].image.shape == (3, 256, 256)


def test_a_model_that_says_so_begins_from_less_noise(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = (4, 128, 128), (61,), (128,), (8, 16, 16)
    veiled, geometry, identity, noise = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    job = Job((0, 1, 0), 128, veiled, geometry, identity, noise)
    less = replace(job, noise=0.5 * job.noise)
    with GeneratorModel(folder, opened) as model:
        whole, half = (model.generator.generate([asked])[0].image for asked in (job, less))
    target = copied(folder, tmp_path)
    change_manifest(target, lambda m: m.update(truncation=0.5))
    with GeneratorModel(target, opened) as model:
        truncated = model.generator.generate([job])[0].image
    assert np.abs(truncated - half).max() < 1e-5
    assert np.abs(truncated - whole).max() > 1e-3


def test_candidates_of_the_folder_are_people_of_its_space(folder: Path) -> None:
    with GeneratorModel(folder, opened) as model:
        people, _ = model.space().people([bytes([n]) * 32 for n in range(64)])
        blend = model.expression(np.zeros((3, 478, 3), np.float32))
        coarse = model.coarse(np.zeros((3, 128, 128, 3), np.uint8))
    assert np.linalg.norm(people, axis=1) == pytest.approx(np.ones(64))
    assert np.abs(people @ people.T)[~np.eye(64, dtype=bool)].mean() < 0.3
    assert (blend.shape, coarse.shape) == ((3, 52), (3, 3))


def test_an_expression_is_asked_for_more_strongly_by_what_renderings_lose(
    folder: Path, tmp_path: Path
) -> None:
    meshes = np.random.default_rng(0).random((1, 478, 3)).astype(np.float32)
    with GeneratorModel(folder, opened) as model:
        plain = model.expression(meshes)
    target = copied(folder, tmp_path)
    values = read_tensors(target / CONSTANTS)
    gain, mean = np.full(52, 1.5, np.float32), np.full(52, 0.5, np.float32)
    write_tensors(target / CONSTANTS, {**values, "expression_gain": gain, "expression_mean": mean})
    write_manifest(target)
    with GeneratorModel(target, opened) as model:
        asked = model.expression(meshes)
    assert asked == pytest.approx(np.clip(0.5 + 1.5 * (plain - 0.5), 0, MOST_ASKED), abs=1e-5)


# what is wrong with a folder is told before any work


def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "model"))


def change_manifest(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_folder_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="no generator at"):
        GeneratorModel(tmp_path / "nowhere", opened)


def test_a_changed_byte_is_noticed_before_the_network_is_opened(folder: Path, tmp_path: Path) -> None:
    broken = copied(folder, tmp_path)
    data = bytearray((broken / "decoder.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (broken / "decoder.onnx").write_bytes(data)
    with pytest.raises(ModelCorrupt):
        GeneratorModel(broken, opened)


@pytest.mark.parametrize("times", [[0.5], [1.0, 1.0], [], [1.0, 0.0]])
def test_a_model_that_would_start_from_the_source_is_refused(
    folder: Path, tmp_path: Path, times: list[float]
) -> None:
    broken = copied(folder, tmp_path)
    write_manifest(broken, times)
    with pytest.raises(ModelCorrupt, match="not a generator's manifest"):
        GeneratorModel(broken, opened)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format=2),
        lambda m: m["files"].pop("unet.onnx"),
        lambda m: m["files"]["unet.onnx"].update(sha256="12"),
        lambda m: m["files"].update({"../../etc/passwd": {"sha256": "0" * 64}}),
        lambda m: m.pop("licence"),
    ],
)
def test_manifests_that_make_no_sense_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    broken = copied(folder, tmp_path)
    change_manifest(broken, change)
    with pytest.raises(ModelCorrupt):
        GeneratorModel(broken, opened)


def test_a_network_that_cannot_run_is_an_engine_error(folder: Path, tmp_path: Path) -> None:
    broken = copied(folder, tmp_path)
    (broken / "unet.onnx").write_bytes(b"no network")
    write_manifest(broken)
    with pytest.raises(EngineError):
        GeneratorModel(broken, opened)


# keys


def test_a_key_file_decides_and_is_checked(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "key"
    for content, message in ((None, "cannot read"), (b"short", "shorter than 32 bytes")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=message) as caught:
            Studio(Synthetic(model=folder, identity_key_file=path), NoFiles(), opened)
        assert "short'" not in str(caught.value)
    path.write_bytes(bytes(range(32)))
    with pytest.raises(ConfigError, match="exclude each other"):
        Studio(Synthetic(model=folder, identity_key_file=path, seed=1), NoFiles(), opened)
    with Studio(Synthetic(model=folder, identity_key_file=path), NoFiles(), opened) as studio:
        assert studio.told()["identities"] == "pseudonymised within this file"


def test_a_policy_that_makes_no_sense_is_told_before_any_work(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--attributes age=young"):
        Studio(settings(folder, attributes="age=young"), NoFiles(), opened)


def test_the_worlds_people_are_told_apart() -> None:
    """The control of the tests above: different identities look different here."""
    a, b = (person_of(np.full(128, value)) for value in (0.1, 0.2))
    assert not np.array_equal(texture(a, 64), texture(b, 64))
