"""Training from a pack alone, as on a machine that has nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training import toy

from veilcast.diffusion.weights import read_tensors
from veilcast.errors import ModelCorrupt, OutputError
from veilcast.training import elsewhere, networks
from veilcast.training.pack import read_pack, write_pack
from veilcast.training.settings import load


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    toy.cache(folder / "cache")
    lines = write_pack(
        folder / "cache",
        folder / "pack",
        toy.teacher(folder / "teacher.safetensors"),
        toy.lpips(folder / "lpips.safetensors"),
        toy.dlib(),
        toy.mesh_network(),
        quality=80,
    )
    assert list(lines)
    (folder / "tiny.toml").write_text(toy.TINY)
    return folder / "pack"


def test_parts_of_a_pack_can_travel_one_by_one(pack: Path) -> None:
    parts = sorted(pack.glob("pack-*.bin"))
    assert parts
    assert all(part.stat().st_size <= 18 << 20 for part in parts)


def test_a_pack_fits_the_way_to_the_other_machine(pack: Path, tmp_path: Path) -> None:
    site = pack.parent
    networks_of_others = toy.dlib(), toy.mesh_network()
    files = site / "teacher.safetensors", site / "lpips.safetensors"
    list(write_pack(site / "cache", tmp_path / "small", *files, *networks_of_others, 80, part_mib=1))
    parts = sorted((tmp_path / "small").glob("pack-*.bin"))
    assert len(parts) > 1
    assert all(part.stat().st_size <= 1 << 20 for part in parts)
    whole, again = read_pack(pack), read_pack(tmp_path / "small")
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    with pytest.raises(OutputError, match="--most-mib"):
        list(write_pack(site / "cache", tmp_path / "large", *files, *networks_of_others, 80, most_mib=1))


def test_a_pack_with_a_flipped_bit_is_refused(pack: Path, tmp_path: Path) -> None:
    for file in pack.iterdir():
        data = bytearray(file.read_bytes())
        if file.suffix == ".bin":
            data[len(data) // 2] ^= 1
        (tmp_path / file.name).write_bytes(data)
    with pytest.raises(ModelCorrupt, match="copy it again"):
        read_pack(tmp_path)


def test_held_out_people_are_marked_in_a_pack(pack: Path) -> None:
    tensors = read_pack(pack)
    held = {entry.identity for entry in toy.people() if entry.held_out}
    assert held
    assert int(tensors["held_out"].sum()) == sum(entry.identity in held for entry in toy.people())


BLOCKER = """
import builtins
real = builtins.__import__
def refuse(name, *rest):
    if name.split(".")[0] in {absent!r}:
        raise ModuleNotFoundError(name)
    return real(name, *rest)
builtins.__import__ = refuse
from veilcast.training.elsewhere import main
main({arguments!r})
"""
ABSENT = {
    "cv2",
    "openvino",
    "onnx",
    "onnxruntime",
    "pydantic",
    "safetensors",
    "scipy",
    "typer",
    "av",
}


def run(pack: Path, out: Path, *more: str) -> str:
    arguments = ["--pack", str(pack), "--out", str(out), "--config", str(pack.parent / "tiny.toml")]
    arguments += ["--device", "cpu", "--precision", "float32", "--batch", "4", "--workers", "1", *more]
    script = BLOCKER.format(absent=ABSENT, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("steps", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_every_phase_runs_with_torch_numpy_and_pillow_alone(pack: Path, tmp_path: Path, steps: int) -> None:
    out = tmp_path / "run"
    said = run(pack, out, "--steps", str(steps))
    figures = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {f["phase"] for f in figures} == set(elsewhere.SHARES) - {"closeup", "polish_closeup"}
    shards = sorted(out.glob("weights-*.safetensors"))
    assert shards
    assert all(shard.stat().st_size <= 15 << 20 for shard in shards)
    assert (out / "sheets" / f"distill-{steps:07d}.png").exists()

    elsewhere.join(out, tmp_path / "weights")
    settings = load(pack.parent / "tiny.toml")
    for name in ("unet", "decoder", "encoder", "identity", "reader", "expression"):
        net = networks.load(name, settings, tmp_path / "weights")
        assert all(bool(p.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize(("after", "every", "asked"), [(0, 1, True), (9, 1, False), (0, 2, False)])
def test_few_steps_match_the_denoiser_once_it_is_known_what_they_draw(
    pack: Path, tmp_path: Path, after: int, every: int, asked: bool
) -> None:
    config = tmp_path / "matching.toml"
    changes = f"two_step = 0.0\nlooked_at = 0.5\nmatching_after = {after}\nmatching_every = {every}\n"
    weights = "[weights]\nmatching = 20.0\nown = 0.0\nanchor = 0.0\n"
    config.write_text(changes + toy.TINY + weights)
    phases = "expression,reader,autoencoder,identity,diffusion,distill"
    run(pack, tmp_path / "run", "--config", str(config), "--steps", "2", "--phases", phases)
    last = json.loads((tmp_path / "run" / "distill" / "log.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(last["critic"])
    assert (last.get("matching", 0) > 0, "command" in last) == (asked, asked)
    assert not {"anchor", "latents"} & set(last)


def test_phases_without_minutes_share_what_the_others_leave() -> None:
    found = elsewhere.lengths("reader:2,diffusion,distill", 12.0)
    assert found["reader"] == 2
    assert found["diffusion"] / found["distill"] == pytest.approx(
        elsewhere.SHARES["diffusion"] / elsewhere.SHARES["distill"]
    )
    assert sum(found.values()) == pytest.approx(12)


@pytest.mark.parametrize(("phases", "said"), [("difusion:2", "difusion"), ("reader:soon", "NAME:MINUTES")])
def test_a_phase_that_cannot_be_meant_is_said_before_anything_is_read(phases: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        elsewhere.main(["--pack", "nowhere", "--out", "nowhere", "--phases", phases])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_phase_runs_on_a_gpu_in_bf16(pack: Path, tmp_path: Path) -> None:
    arguments = ["--pack", str(pack), "--out", str(tmp_path), "--config", str(pack.parent / "tiny.toml")]
    elsewhere.main([*arguments, "--device", "cuda", "--steps", "30", "--batch", "8", "--workers", "2"])
    tensors = [
        value for path in tmp_path.glob("weights-*.safetensors") for value in read_tensors(path).values()
    ]
    assert tensors
    assert all(np.isfinite(value).all() for value in tensors)


def test_a_run_begins_with_the_weights_that_another_left(pack: Path, tmp_path: Path) -> None:
    run(pack, tmp_path / "first", "--steps", "2", "--phases", "identity")
    run(pack, tmp_path / "second", "--steps", "0", "--phases", "identity", "--from", str(tmp_path / "first"))
    first, second = (read_tensors(tmp_path / name / "weights-00.safetensors") for name in ("first", "second"))
    assert all(np.array_equal(first[name], second[name]) for name in first)
