"""RetinaFace (Deng et al., 2019) with a small backbone: anchors of two sizes on grids of stride 8, 16
and 32, decoded as in SSD (Liu et al., 2016) with variances .1 and .2.

Network: BGR minus `MEAN_BGR`, height and width multiples of 32; outputs `loc` (1, anchors, 4) centre and
log size, `conf` (1, anchors, 2), `landmarks` (1, anchors, 10).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from veilcast.arrays import Float32
from veilcast.pipeline.detectors.candidates import Candidates, suppressed

MEAN_BGR = (104.0, 117.0, 127.0)
ANCHORS_PX = {8: (16, 32), 16: (64, 128), 32: (256, 512)}  # by stride
SUPPRESS_IOU = 0.4


def decode(outputs: Mapping[str, np.ndarray], width: int, height: int, thresh: float) -> Candidates:
    """Candidates from `thresh` on, in pixels of the network's input."""
    boxes, scores, points = (outputs[name][0] for name in ("loc", "conf", "landmarks"))
    hits = np.flatnonzero(scores[:, 1] >= thresh)
    anchor = anchors(width, height)[hits]  # (n, 3) x, y, size
    centre = anchor[:, :2] + boxes[hits, :2] * 0.1 * anchor[:, 2:]
    extent = anchor[:, 2:] * np.exp(np.minimum(boxes[hits, 2:] * 0.2, 8))
    at = anchor[:, None, :2] + points[hits].reshape(-1, 5, 2) * 0.1 * anchor[:, None, 2:]
    found = Candidates(
        np.hstack([centre - extent / 2, centre + extent / 2]).astype(np.float32),
        scores[hits, 1].astype(np.float32),
        at.astype(np.float32),
    )
    return suppressed(found, SUPPRESS_IOU)


def anchors(width: int, height: int) -> Float32[np.ndarray, "n 3"]:
    """Centre x, centre y and side of each anchor, in pixels, in the network's order."""
    parts = []
    for stride, sizes in ANCHORS_PX.items():
        rows, columns = np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]
        cells = (np.stack([columns, rows], axis=-1).reshape(-1, 1, 2) + 0.5) * stride
        sides = np.array(sizes, np.float32).reshape(1, -1, 1)
        shape = (len(cells), len(sizes), 1)
        parts.append(
            np.concatenate([np.broadcast_to(cells, (*shape[:2], 2)), np.broadcast_to(sides, shape)], 2)
        )
    return np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.float32)
