"""The face mesh network in torch, differentiable, and what of a mesh is pose and expression but not shape:
what a loss may hold a rendering to without holding it to its source's face.

The network is MediaPipe's FaceLandmarker (Apache-2.0) as trt_engines/convert makes it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from veilcast.arrays import Float

SIDE = 256  # of the network's input, pixels
PROGRAM = "program"  # name of the array that holds the steps

LEFT, RIGHT, BROW, CHIN = (234, 127), (454, 356), (10, 151), (152, 175)
# each eye: its corners, lids, iris; left and right as seen in the picture
EYES = ((33, 133, 159, 145, 468), (362, 263, 386, 374, 473))
LIPS = (13, 14, 78, 308, 0, 17)  # inner above and below, inner corners, outer above and below


class Mesh(nn.Module):
    """Pictures (n, 3, 256, 256) RGB 0..255 -> mesh (n, 478, 3) in pixels, from `from_onnx`'s arrays."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        program = json.loads(bytes(np.asarray(arrays[PROGRAM], np.uint8)))
        self.steps, self.source, self.result = program["steps"], program["input"], program["output"]
        self.names: dict[str, str] = {}
        # shapes and pads stay on the CPU: asked for on a GPU, each would wait for all that is under way there
        self.numbers: dict[str, list[int]] = {}
        for number, (name, value) in enumerate(sorted(arrays.items())):
            if value.dtype.kind == "i":
                self.numbers[name] = [int(n) for n in value.flat]
            elif name != PROGRAM:
                self.names[name] = f"c{number}"
                constant = torch.from_numpy(np.array(value, np.float32))
                self.register_buffer(f"c{number}", constant, persistent=False)

    def forward(self, rgb: Float[Tensor, "n 3 256 256"]) -> Float[Tensor, "n 478 3"]:
        values: dict[str, Any] = {self.source: rgb, **self.numbers}
        for step in self.steps:
            inputs = [
                values[name] if name in values else self.get_buffer(self.names[name]) for name in step["in"]
            ]
            values[step["out"]] = OPERATORS[step["op"]](step["with"], *inputs)
        mesh: Tensor = values[self.result]
        return mesh


def _conv(how: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = how["pads"]
    padding: tuple[int, int] | int = 0
    if (top, left) == (bottom, right):
        padding = (top, left)
    else:
        x = functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(x, weight, bias, how["strides"], padding, groups=how["group"])


OPERATORS: dict[str, Any] = {
    "Conv": _conv,
    "PRelu": lambda _, x, slope: functional.prelu(x, slope.flatten().to(x.dtype)),
    "Add": lambda _, a, b: a + b,
    "Mul": lambda _, a, b: a * b,
    "MaxPool": lambda how, x: functional.max_pool2d(x, how["kernel_shape"], how["strides"]),
    # ONNX gives the pads of all axes at their beginnings, then at their ends; torch from the last axis on
    "Pad": lambda _, x, pads, *rest: functional.pad(
        x, [v for pair in reversed(list(zip(pads[:4], pads[4:], strict=True))) for v in pair]
    ),
    "Transpose": lambda how, x: x.permute(how["perm"]),
    "Reshape": lambda _, x, shape: x.reshape(len(x), *shape[1:]),
}


def from_onnx(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a converted mesh network: its constants, and its steps as JSON. Steps that the mesh does
    not need (the presence) are left out."""
    import onnx

    graph = onnx.load_model_from_string(data).graph
    constants = {t.name: np.array(onnx.numpy_helper.to_array(t)) for t in graph.initializer}
    steps, needed = [], {"mesh"}
    for node in reversed(graph.node):
        if not needed.intersection(node.output):
            continue
        needed.update(node.input)
        how = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        kept = {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in how.items() if k != "mode"}
        steps.append({"op": node.op_type, "in": list(node.input), "out": node.output[0], "with": kept})
    program = {"steps": steps[::-1], "input": graph.input[0].name, "output": "mesh"}
    used = {name: value for name, value in constants.items() if name in needed}
    return used | {PROGRAM: np.frombuffer(json.dumps(program).encode(), np.uint8)}


def find(net: nn.Module, rgb: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n 478 3"]:
    """Meshes of patches in [-1, 1], in units of the patch's side."""
    large = functional.interpolate(rgb, (SIDE, SIDE), mode="bilinear", align_corners=False)
    pictures = ((large.clamp(-1, 1) + 1) * 127.5).contiguous(memory_format=torch.channels_last)
    found: Tensor = net(pictures)
    return found.float() / SIDE


def manner(mesh: Float[Tensor, "n 478 3"]) -> Float[Tensor, "n 25"]:
    """Where a head looks and what its eyes and lips do, free of the face's shape: the directions from ear to
    ear and from brow to chin (6); the openings of eyes (2) and lips, and how far the lips' corners stand
    above their middle, by the distance of the eyes (3); where each iris stands in its eye (4); eyes, nose
    and lips on the patch (10)."""

    def at(points: tuple[int, ...]) -> Tensor:
        return mesh[:, list(points)].mean(1)

    across, down = at(RIGHT) - at(LEFT), at(CHIN) - at(BROW)
    parts = [functional.normalize(across, dim=1), functional.normalize(down, dim=1)]
    left, right = mesh[:, list(EYES[0][:2])].mean(1), mesh[:, list(EYES[1][:2])].mean(1)
    unit = (right - left).norm(dim=1, keepdim=True).clamp_min(1e-3)
    for first, second, above, below, iris in EYES:
        width = (mesh[:, second] - mesh[:, first]).norm(dim=1, keepdim=True).clamp_min(1e-3)
        parts.append((mesh[:, above] - mesh[:, below]).norm(dim=1, keepdim=True) / width)
        parts.append((mesh[:, iris, :2] - (mesh[:, first, :2] + mesh[:, second, :2]) / 2) / width)
    upper, lower, corner, other, top, bottom = (mesh[:, point] for point in LIPS)
    parts.append((upper - lower).norm(dim=1, keepdim=True) / unit)
    middle = (top + bottom) / 2
    parts += [(side[:, 1:2] - middle[:, 1:2]) / unit for side in (corner, other)]
    five = [left, right, mesh[:, 1], corner, other]
    parts += [point[:, :2] for point in five]
    return torch.cat(parts, 1)
