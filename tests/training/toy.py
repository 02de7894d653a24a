"""A toy training set: drawn faces, random third-party networks of the true shapes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from veilcast.diffusion import patch
from veilcast.diffusion.weights import write_tensors
from veilcast.training import derive
from veilcast.training.arrays import Cache, Stage, write_table
from veilcast.training.faces import Entry
from veilcast.training.mesh import from_onnx
from veilcast.training.prepare import ENTRIES, average_mesh
from veilcast.training.recogniser import Recogniser
from veilcast.training.teacher import TeacherEncoder

COUNT, SIDE = 48, 128
STAGES = derive.stages(SIDE)


def people() -> list[Entry]:
    """Pictures of 24 people, two each."""
    points = tuple((x * 160, y * 160) for x, y in patch.TEMPLATE)
    return [
        Entry("a.tar", f"{n}.webp", "toy", f"person-{n // 2}", None, "", 160, 1.0, points)
        for n in range(COUNT)
    ]


def mesh(rng: np.random.Generator) -> np.ndarray:
    """A mesh whose five points and outline lie where a face's do; the rest anywhere."""
    points = np.zeros((478, 3))
    points[:, :2] = 0.3 + 0.4 * rng.random((478, 2))
    points[:, 2] = 0.1 * rng.standard_normal(478)
    angles = np.linspace(0, 2 * np.pi, len(patch.OVAL), endpoint=False)
    points[list(patch.OVAL), :2] = np.stack([0.5 + 0.28 * np.sin(angles), 0.5 - 0.36 * np.cos(angles)], 1)
    eyes = {33: (0.34, 0.4), 133: (0.405, 0.4), 362: (0.595, 0.4), 263: (0.66, 0.4)}
    for index, place in {**eyes, patch.NOSE: (0.5, 0.55), 61: (0.39, 0.66), 291: (0.61, 0.66)}.items():
        points[index, :2] = place
    return (points * SIDE).astype(np.float32)


def picture(rng: np.random.Generator) -> np.ndarray:
    rgb = np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8)
    cv2.ellipse(rgb, (64, 64), (36, 46), 0, 0, 360, rng.integers(60, 256, 3).tolist(), -1)
    for x in (48, 80):
        cv2.circle(rgb, (x, 51), 5, (20, 20, 20), -1)
    cv2.ellipse(rgb, (64, 85), (14, 5), 0, 0, 360, (150, 40, 40), -1)
    return rgb


def cache(folder: Path) -> Cache:
    """Everything `prepare` derives but the latents."""
    rng, entries = np.random.default_rng(0), people()
    folder.mkdir()
    write_table(folder / ENTRIES, [asdict(entry) for entry in entries])
    found = Cache(folder, COUNT)
    meshes = np.stack([mesh(rng) for _ in entries])
    persons = np.repeat(rng.standard_normal((COUNT // 2, 128)), 2, 0)
    values = {
        "patch": np.stack([picture(rng) for _ in entries]),
        "landmarks": meshes,
        "source_landmarks": meshes[:, :, :2],
        "blendshapes": rng.random((COUNT, 52)),
        "tone": rng.uniform(-40, 60, COUNT),
        "presence": np.ones(COUNT),
        "dlib": 5 + persons + 0.1 * rng.standard_normal((COUNT, 128)),
        "age": rng.uniform(20, 70, COUNT),
        "male": rng.random(COUNT),
    }
    for name in ("faces", "embeddings", "attributes"):
        _fill(found, STAGES[name], values)
    found.create(STAGES["conditions"])
    conditions = derive.Conditions(found, average_mesh(found, SIDE), SIDE)
    list(found.run(STAGES["conditions"], conditions, 0, 1))
    return found


def _fill(found: Cache, stage: Stage, values: dict[str, np.ndarray]) -> None:
    found.create(stage)
    list(found.run(stage, lambda rows: {name: values[name][rows] for name in stage.arrays}, 0, 1))


def teacher(path: Path) -> Path:
    torch.manual_seed(0)
    write_tensors(path, {k: v.numpy() for k, v in TeacherEncoder().state_dict().items()})
    return path


def dlib() -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    return {k: v.numpy() for k, v in Recogniser().state_dict().items()}


def mesh_network() -> dict[str, np.ndarray]:
    """A mesh network of the true shapes: a picture's sixteen colours decide where the points lie."""
    model = helper.make_graph(
        [
            helper.make_node("MaxPool", ["rgb"], ["cells"], kernel_shape=[64, 64], strides=[64, 64]),
            helper.make_node(
                "Conv",
                ["cells", "w", "b"],
                ["flat"],
                group=1,
                pads=[0] * 4,
                strides=[1, 1],
                kernel_shape=[4, 4],
            ),
            helper.make_node("Reshape", ["flat", "shape"], ["mesh"]),
        ],
        "mesh",
        [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, ["n", 3, 256, 256])],
        [helper.make_tensor_value_info("mesh", TensorProto.FLOAT, ["n", 478, 3])],
        [numpy_helper.from_array(value, name) for name, value in _mesh_constants().items()],
    )
    return from_onnx(helper.make_model(model).SerializeToString())


def _mesh_constants() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "w": (rng.standard_normal((478 * 3, 3, 4, 4)) * 0.01).astype(np.float32),
        "b": 2 * mesh(rng).reshape(-1),
        "shape": np.array([-1, 478, 3]),
    }


def lpips(path: Path) -> Path:
    rng = np.random.default_rng(0)
    shapes = {"conv0": (64, 3, 3, 3)}
    before = 64
    for layer, squeeze, wide in (
        *((1, 16, 64), (4, 16, 64), (7, 32, 128), (10, 32, 128), (13, 48, 192)),
        *((16, 48, 192), (19, 64, 256), (22, 64, 256)),
    ):
        shapes[f"conv{layer}"] = (squeeze, before, 1, 1)
        shapes[f"conv{layer + 1}"] = (wide, squeeze, 3, 3)
        shapes[f"conv{layer + 2}"] = (wide, squeeze, 1, 1)
        before = 2 * wide
    tensors = {}
    for name, shape in shapes.items():
        fan = np.prod(shape[1:])
        tensors[f"{name}.weight"] = (rng.standard_normal(shape) * (2 / fan) ** 0.5).astype(np.float32)
        tensors[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    for tap, width in enumerate((64, 128, 256, 384, 384, 512, 512)):
        tensors[f"lin{tap}.weight"] = np.full((1, width, 1, 1), 1 / width, np.float32)
    write_tensors(path, tensors)
    return path


TINY = """
seed = 3
precision = "float32"
[sizes]
unet = [16, 32, 32]
depth = 1
tokens = 16
heads = 2
surroundings = 16
decoder = [32, 16, 16]
encoder = [16, 16, 32]
reader = [16, 16, 16, 32]
critic = 8
"""
