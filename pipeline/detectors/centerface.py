"""CenterFace (Xu, Yan et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point",
2019): a heat map of face centres on a grid of stride 4 and, at each cell, size, offset and points.

Network: RGB 0..255, height and width multiples of 32; outputs `score` (1, 1, h/4, w/4), `size` (1, 2, ...)
log of height and width over the stride, `offset` (1, 2, ...) in y and x, `points` (1, 10, ...) five times
y, x over height and width from the box's corner.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from veilcast.pipeline.detectors.candidates import Candidates, suppressed

STRIDE_PX = 4
SUPPRESS_IOU = 0.3


def decode(outputs: Mapping[str, np.ndarray], thresh: float) -> Candidates:
    """Candidates from `thresh` on, in pixels of the network's input."""
    heat, size, offset, points = (outputs[name][0] for name in ("score", "size", "offset", "points"))
    rows, columns = np.nonzero(heat[0] >= thresh)
    extent = np.exp(np.minimum(size[:, rows, columns], 8)) * STRIDE_PX  # (2, n) height, width
    centre = (np.stack([rows, columns]) + offset[:, rows, columns] + 0.5) * STRIDE_PX
    corner = centre - extent / 2
    boxes = np.concatenate([corner[::-1], (corner + extent)[::-1]]).T
    at = points[:, rows, columns].reshape(5, 2, -1) * extent + corner  # (5, [y, x], n)
    found = Candidates(
        boxes.astype(np.float32),
        heat[0, rows, columns].astype(np.float32),
        at[:, ::-1].transpose(2, 0, 1).astype(np.float32),
    )
    return suppressed(found, SUPPRESS_IOU)
