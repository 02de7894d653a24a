"""Contact sheets: fixed validation faces in columns, what is shown of them in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from veilcast.arrays import Float, Int
    from veilcast.training.data import Faces


def sheet(rows: Sequence[Float[Tensor, "n c s s"]], side: int = 128) -> np.ndarray:
    """Pictures in [-1, 1] (first three channels), one row each."""
    lines = []
    for row in rows:
        rgb = row[:, :3].float()
        if rgb.shape[-1] != side:
            rgb = functional.interpolate(rgb, (side, side), mode="bilinear", antialias=True)
        pixels = ((rgb.clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy()
        lines.append(np.concatenate(list(pixels.transpose(0, 2, 3, 1)), 1))
    return np.concatenate(lines, 0)


def fixed(faces: Faces, count: int = 16) -> Int[Tensor, " n"]:
    """Held-out rows for every sheet: the most turned, darkest, lightest, oldest, youngest, most open-mouthed,
    men and women, and others in order."""
    rows = faces.valid if len(faces.valid) >= count else faces.train
    # a slice of the set is enough to find extremes in, and the same for every phase
    rows = rows[: min(len(rows), 2000)]
    geometry, coarse = faces._get("geometry", rows).float(), faces._get("coarse", rows).float()
    yaw = geometry[:, 54].abs()
    order = [yaw, -coarse[:, 2], coarse[:, 2], coarse[:, 0], -coarse[:, 0], geometry[:, 25]]
    chosen: list[int] = []
    for key in order:
        ranked = [int(i) for i in key.argsort(descending=True) if int(i) not in chosen]
        # not the very extremes, which are often broken detections
        skip = max(1, len(ranked) // 100)
        chosen += ranked[skip : skip + 2]
    chosen += [i for i in range(len(rows)) if i not in chosen][: max(0, count - len(chosen))]
    return rows[torch.tensor(chosen[:count], device=rows.device)]


def save(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
