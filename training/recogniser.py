"""dlib's recogniser in torch, differentiable: the only recogniser of others that a training loss may use.

The network is dlib's dnn_face_recognition_ex (CC0), with each affine layer folded into its convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.identity_vae import centre

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from veilcast.arrays import Float

# (width, whether it halves the side) of each residual block
BLOCKS = [(32, False)] * 3 + [(64, True)] + [(64, False)] * 3 + [(128, True)] + [(128, False)] * 2
BLOCKS += [(256, True)] + [(256, False)] * 2 + [(256, True)]
TEMPLATE = ((48.2, 47.0), (100.6, 46.6), (75.0, 78.7), (51.5, 98.5), (98.6, 98.7))  # in a 150 px chip
CHIP = 150


class Recogniser(nn.Module):
    """Chips (n, 3, 150, 150) RGB 0..255 -> embeddings (n, 128), not normalised."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer(
            "mean", torch.tensor([122.782, 117.001, 104.298]).view(3, 1, 1), persistent=False
        )
        self.first = nn.Conv2d(3, 32, 7, 2)
        self.one, self.two = nn.ModuleList(), nn.ModuleList()
        before = 32
        for width, halves in BLOCKS:
            self.one.append(nn.Conv2d(before, width, 3, 2 if halves else 1, 0 if halves else 1))
            self.two.append(nn.Conv2d(width, width, 3, 1, 1))
            before = width
        self.last = nn.Linear(256, 128, bias=False)

    def forward(self, chips: Float[Tensor, "n 3 150 150"]) -> Float[Tensor, "n 128"]:
        x = (chips - self.mean) / 256
        x = functional.max_pool2d(functional.relu(self.first(x)), 3, 2)
        for one, two in zip(self.one, self.two, strict=True):
            y = two(functional.relu(one(x)))
            x = functional.relu(y + x) if y.shape == x.shape else functional.relu(_padded(y, x))
        embedding: Tensor = self.last(x.mean((2, 3)))
        return embedding


def _padded(y: Tensor, x: Tensor) -> Tensor:
    """Sum of a block that halves: zeros for the rows and channels that one side lacks (dlib add_prev)."""
    x = functional.avg_pool2d(x, 2, 2)
    rows, columns = x.shape[2] - y.shape[2], x.shape[3] - y.shape[3]
    return functional.pad(y, (0, columns, 0, rows)) + functional.pad(
        x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])
    )


def from_onnx(data: bytes) -> dict[str, np.ndarray]:
    """The weights of a converted recogniser (ONNX), by the names of `Recogniser`: its convolutions in
    order, then the matrix."""
    import onnx

    graph = onnx.load_model_from_string(data).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    names = ["first", *(f"{part}.{block}" for block in range(len(BLOCKS)) for part in ("one", "two"))]
    tensors = {}
    for name, node in zip(names, convolutions, strict=True):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (constants[i] for i in node.input[1:3])
    matrix = next(node for node in graph.node if node.op_type == "MatMul")
    tensors["last.weight"] = constants[matrix.input[1]].T
    return tensors


def load(tensors: Mapping[str, np.ndarray]) -> Recogniser:
    """A frozen recogniser."""
    net = Recogniser()
    net.load_state_dict(
        {name: torch.from_numpy(np.array(value, np.float32)) for name, value in tensors.items()}
    )
    return net.eval().requires_grad_(False)


def chips(
    rgb: Float[Tensor, "n 3 s s"], five: Float[Tensor, "n 5 2"], shake: Float[Tensor, "n 4"] | None = None
) -> Float[Tensor, "n 3 150 150"]:
    """Aligned chips, RGB 0..255, of patches in [-1, 1]. `shake`: log scale, angle, shift x and y (pixels of
    the chip) by which the alignment is off."""
    side = rgb.shape[-1]
    target = five.new_tensor(TEMPLATE)
    s, d = five - five.mean(1, keepdim=True), target - target.mean(0)
    # least-squares similarity in the plane: a complex ratio, d = (a + ib) s
    norm = s.pow(2).sum((1, 2))
    a = (s * d).sum((1, 2)) / norm
    b = (s[..., 0] * d[..., 1] - s[..., 1] * d[..., 0]).sum(1) / norm
    centre_chip = target.mean(0).expand(len(five), 2)
    if shake is not None:
        factor, cos, sin = shake[:, 0].exp(), shake[:, 1].cos(), shake[:, 1].sin()
        a, b = factor * (a * cos - b * sin), factor * (a * sin + b * cos)
        centre_chip = centre_chip + shake[:, 2:]
    inverse = (
        torch.stack([torch.stack([a, b], 1), torch.stack([-b, a], 1)], 1) / (a * a + b * b)[:, None, None]
    )
    grid = torch.arange(CHIP, device=rgb.device) + 0.5
    pixels = torch.stack([grid.expand(CHIP, CHIP), grid[:, None].expand(CHIP, CHIP)], 2).view(1, -1, 2)
    where = (pixels - centre_chip[:, None]) @ inverse.transpose(1, 2) + five.mean(1)[:, None]
    where = (where * 2 / side - 1).view(-1, CHIP, CHIP, 2)
    chip = functional.grid_sample(rgb, where.to(rgb.dtype), padding_mode="border", align_corners=False)
    return (chip + 1) * 127.5


def identify(
    net: Recogniser,
    rgb: Float[Tensor, "n 3 s s"],
    five: Float[Tensor, "n 5 2"],
    mean: Float[Tensor, " 128"],
    shake: Float[Tensor, "n 4"] | None = None,
) -> Float[Tensor, "n 128"]:
    """Centred unit identity of patches."""
    return centre(net(chips(rgb, five, shake)).float(), mean)
