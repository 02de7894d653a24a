"""Pictures and patches of planes on a torch device.

The same geometry as pipeline.pixels: pixel (x, y) covers [x, x + 1) x [y, y + 1). On a GPU nothing of
this touches the host; on a processor the tests compare it with the pipeline's own, value by value.
Needs torch; only the pipeline on a GPU imports this file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  its usual name

Tensor = torch.Tensor
Matrix = np.ndarray  # 3 x 3, float64


def sampled(plane: Tensor, to_patch: Matrix, height: int, width: int) -> Tensor:
    """A plane (h, w) of any type seen through `to_patch` (its samples -> patch pixels), float32
    (height, width). Beyond its border the border is repeated; where it shrinks, it is averaged first."""
    source, matrix = _shrunk(plane.float()[None, None], to_patch)
    grid = _grid(np.linalg.inv(matrix), height, width, source.shape[-2:], plane.device)
    seen = F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return seen[0, 0]


def resized(plane: Tensor, height: int, width: int) -> Tensor:
    """A plane (h, w) scaled, float32: the mean over each pixel's area where it shrinks."""
    source = plane.float()
    if tuple(plane.shape) == (height, width):
        return source
    if height < plane.shape[0] or width < plane.shape[1]:
        return _averaged(source, height, width)
    return F.interpolate(source[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]


def _averaged(source: Tensor, height: int, width: int) -> Tensor:
    """Each pixel the mean over its area, parts of samples counted as such."""
    rows, columns = (
        _overlaps(n, m, source.device) for n, m in zip(source.shape, (height, width), strict=True)
    )
    return rows @ source @ columns.T


def _overlaps(count: int, into: int, device: torch.device) -> Tensor:
    """(into, count): the share of each sample in each pixel."""
    starts = torch.arange(into, device=device, dtype=torch.float64)[:, None] * count / into
    samples = torch.arange(count, device=device, dtype=torch.float64)[None, :]
    ends = starts + count / into
    shared = (torch.minimum(ends, samples + 1) - torch.maximum(starts, samples)).clamp(min=0)
    return (shared * into / count).float()


def mixed(planes: Sequence[Tensor], matrix: np.ndarray) -> Tensor:
    """Planes (h, w) through a colour matrix (3, 4) to uint8 (h, w, 3)."""
    rows = torch.as_tensor(matrix, dtype=torch.float32, device=planes[0].device)
    stacked = torch.stack([p.float().round() for p in planes], -1)
    return (stacked @ rows[:, :3].T + rows[:, 3]).round().clamp(0, 255).to(torch.uint8)


def _shrunk(source: Tensor, matrix: Matrix) -> tuple[Tensor, Matrix]:
    """Averages first where the matrix would skip samples."""
    step = int(1 / np.sqrt(max(abs(np.linalg.det(matrix[:2, :2])), 1e-12)))
    height, width = source.shape[-2:]
    if step < 2 or step > min(width, height):
        return source, matrix
    size = (height // step, width // step)
    small = _averaged(source[0, 0], *size)[None, None]
    return small, matrix @ np.diag([width / size[1], height / size[0], 1.0])


def _grid(from_patch: Matrix, height: int, width: int, size: Sequence[int], device: torch.device) -> Tensor:
    """Where each pixel of a (height, width) patch lies in a picture of `size`, in torch's -1 to 1."""
    high, wide = size
    to_unit = np.array([[2 / wide, 0, -1.0], [0, 2 / high, -1.0], [0, 0, 1]])
    matrix = torch.as_tensor((to_unit @ from_patch)[:2], dtype=torch.float64, device=device)
    x = torch.arange(width, device=device, dtype=torch.float64) + 0.5
    y = torch.arange(height, device=device, dtype=torch.float64) + 0.5
    points = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1)
    return (points @ matrix[:, :2].T + matrix[:, 2]).float()[None]
