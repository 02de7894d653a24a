"""YuNet (W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023): anchor-free,
on grids of stride 8, 16 and 32.

Network: BGR 0..255, height and width multiples of 32; its outputs are described in
trt_engines/convert/yunet.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from veilcast.pipeline.detectors.candidates import Candidates, joined, suppressed

STRIDES_PX = (8, 16, 32)
SUPPRESS_IOU = 0.3


def decode(outputs: Mapping[str, np.ndarray], thresh: float) -> Candidates:
    """Candidates from `thresh` on, in pixels of the network's input."""
    return suppressed(joined([_level(outputs, stride, thresh) for stride in STRIDES_PX]), SUPPRESS_IOU)


def _level(outputs: Mapping[str, np.ndarray], stride: int, thresh: float) -> Candidates:
    score = outputs[f"score_{stride}"][0, 0]
    rows, columns = np.nonzero(score >= thresh)
    cell = np.stack([columns, rows])  # (2, n) x, y
    box = outputs[f"box_{stride}"][0][:, rows, columns]
    centre = (cell + box[:2]) * stride
    extent = np.exp(np.minimum(box[2:], 8)) * stride
    points = outputs[f"points_{stride}"][0][:, rows, columns].reshape(5, 2, -1)
    return Candidates(
        np.concatenate([centre - extent / 2, centre + extent / 2]).T.astype(np.float32),
        score[rows, columns].astype(np.float32),
        ((points + cell) * stride).transpose(2, 0, 1).astype(np.float32),
    )
