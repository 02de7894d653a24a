"""The mesh network in torch is the product's, and what losses compare is pose and expression."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch
from tests.training import toy

from veilcast.training.mesh import SIDE, Mesh, find, from_onnx, manner
from veilcast.trt_engines.models import Models


def meshes() -> torch.Tensor:
    rng = np.random.default_rng(4)
    return torch.from_numpy(np.stack([toy.mesh(rng) for _ in range(3)])) / toy.SIDE


def test_torch_finds_the_meshes_that_the_product_finds() -> None:
    data = Models().bytes("landmarks478")
    rgb = torch.rand(2, 3, SIDE, SIDE) * 255
    here = Mesh(from_onnx(data))(rgb)
    there = onnxruntime.InferenceSession(data).run(["mesh"], {"rgb": rgb.numpy()})[0]
    assert np.abs(here.numpy() - there).max() < 0.01  # pixels


def test_a_loss_on_the_mesh_reaches_the_picture() -> None:
    rgb = (torch.rand(1, 3, 128, 128) * 2 - 1).requires_grad_()
    find(Mesh(toy.mesh_network()), rgb)[:, :5].sum().backward()  # type: ignore[no-untyped-call]
    assert rgb.grad is not None
    assert float(rgb.grad.abs().sum()) > 0


def test_a_larger_face_in_the_same_pose_has_the_same_manner() -> None:
    mesh = meshes()
    wide = mesh.clone()
    wide[:, :, :] = (mesh - 0.5) * 1.2 + 0.5
    assert torch.allclose(manner(mesh)[:, :15], manner(wide)[:, :15], atol=1e-5)


def test_an_open_mouth_and_a_turned_eye_show_in_the_manner() -> None:
    mesh = meshes()
    mouth, eye = mesh.clone(), mesh.clone()
    mouth[:, 14, 1] += 0.05
    eye[:, 468, 0] += 0.01
    still = manner(mesh)
    assert (manner(mouth) - still).abs().amax(1).min() > 0.05
    assert (manner(eye) - still).abs().amax(1).min() > 0.05
