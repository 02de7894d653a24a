"""Is it steady? Every figure is taken on the source video too: its own value is the noise floor."""

from __future__ import annotations

import cv2
import numpy as np

from veilcast.arrays import Bool, Float, Float32, Int
from veilcast.evaluation.reidentification import Embeddings, unit
from veilcast.types import Rgb

Flow = Float32[np.ndarray, "h w 2"]


def adjacent_cosine(track: Embeddings, frames: Int[np.ndarray, " n"] | None = None) -> float | None:
    """Mean cosine of neighbouring rows of one track; where their `frames` are given, of those that are
    one frame apart."""
    rows = unit(track)
    cosines = np.einsum("nd,nd->n", rows[1:], rows[:-1])
    if frames is not None:
        cosines = cosines[np.diff(frames) == 1]
    return float(cosines.mean()) if len(cosines) else None


def pairwise_cosine(track: Embeddings) -> float | None:
    """Mean cosine of all pairs of different frames of one track: (|sum|^2 - n) / (n (n - 1))."""
    n = len(track)
    if n < 2:
        return None
    rows = unit(track)
    total = rows.sum(0)
    return float((total @ total - (rows * rows).sum()) / (n * (n - 1)))


def tl_id(
    output: Embeddings, source: Embeddings, frames: Int[np.ndarray, " n"] | None = None
) -> float | None:
    """Temporally local identity (Tzaban et al. 2022, "Stitch it in Time", 5.1): adjacent cosine of the
    output over that of the source; 1 = as steady as the source."""
    a, b = adjacent_cosine(output, frames), adjacent_cosine(source, frames)
    return a / b if a is not None and b else None


def tg_id(output: Embeddings, source: Embeddings) -> float | None:
    """Temporally global identity (as tl_id, over all pairs of frames)."""
    a, b = pairwise_cosine(output), pairwise_cosine(source)
    return a / b if a is not None and b else None


def tlpips(output_steps: Float[np.ndarray, " n"], source_steps: Float[np.ndarray, " n"]) -> float | None:
    """tLP (Chu et al. 2020, TecoGAN, eq. 10): mean |LPIPS(y_t, y_t+1) - LPIPS(x_t, x_t+1)|."""
    return float(np.abs(output_steps - source_steps).mean()) if len(output_steps) else None


def light(face: Rgb) -> float:
    """Mean luma of the middle of an aligned face, levels."""
    height, width = face.shape[:2]
    middle = face[int(0.3 * height) : int(0.7 * height), int(0.3 * width) : int(0.7 * width)]
    return float(cv2.cvtColor(np.ascontiguousarray(middle), cv2.COLOR_RGB2GRAY).mean())


def flashes(
    output_steps: Float[np.ndarray, " n"], source_steps: Float[np.ndarray, " n"]
) -> tuple[float | None, float | None]:
    """By how many levels a face grows lighter or darker from frame to frame where its source does not: the
    mean, and what one step in a hundred exceeds, for a mean hides a flash."""
    if not len(output_steps):
        return None, None
    apart = np.abs(output_steps - source_steps)
    return float(apart.mean()), float(np.percentile(apart, 99))


def flow(a: Rgb, b: Rgb) -> Flow:
    """Dense optical flow from `a` to `b` in pixels (DIS; Kroeger et al. 2016): a(p) shows what
    b(p + flow(p)) shows."""
    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (a, b)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    found: Flow = dis.calc(grey[0], grey[1], None)
    return found


def warped(picture: Float32[np.ndarray, "h w *c"], field: Flow) -> Float32[np.ndarray, "h w *c"]:
    """Picture sampled at p + field(p)."""
    height, width = field.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved: Float32[np.ndarray, "h w *c"] = cv2.remap(
        picture, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved


def visible(forward: Flow, backward: Flow) -> Bool[np.ndarray, "h w"]:
    """True where a pixel is seen in both frames: forward and backward flow cancel (Sundaram et al. 2010,
    eq. 5: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5) and it does not leave the picture."""
    height, width = forward.shape[:2]
    back = warped(backward, forward)
    gap = ((forward + back) ** 2).sum(-1)
    cancels = gap < 0.01 * ((forward**2).sum(-1) + (back**2).sum(-1)) + 0.5
    x = np.arange(width)[None, :] + forward[..., 0]
    y = np.arange(height)[:, None] + forward[..., 1]
    seen: Bool[np.ndarray, "h w"] = cancels & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return seen


def warping_error(a: Rgb, b: Rgb, forward: Flow, seen: Bool[np.ndarray, "h w"]) -> float | None:
    """Lai et al. 2018, eq. 9: mean squared difference of frame t and frame t + 1 brought back along the
    SOURCE's flow, over the pixels seen in both; pictures scaled to 0 to 1."""
    if not seen.any():
        return None
    there = warped(b.astype(np.float32), forward)
    return float((((a.astype(np.float32) - there) / 255) ** 2).sum(-1)[seen].mean())


def jitter(points: Float[np.ndarray, "t n 2"], scale: float) -> float | None:
    """Mean length of the second difference p(t-1) - 2 p(t) + p(t+1) over `scale` (the distance of the
    eyes): 0 for any steady movement."""
    if len(points) < 3:
        return None
    second = points[:-2] - 2 * points[1:-1] + points[2:]
    return float(np.linalg.norm(second, axis=-1).mean() / scale)
