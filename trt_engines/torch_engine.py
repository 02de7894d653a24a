"""torch modules behind the seam: the reference that the exported networks are compared with.

Needs the `train` extra; nothing on the default path imports this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

import numpy as np
import torch

from veilcast.errors import EngineError
from veilcast.trt_engines.engine import Tensors, TensorSpec, check_inputs


class TorchEngine:
    """A module whose arguments are `inputs` in order and whose results are `outputs` in order."""

    streams = 1

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        device: str = "cpu",
        precision: Literal["f32", "bf16", "fp16"] = "f32",
    ) -> None:
        """`precision`: of the arithmetic, by torch's autocast; what goes in and comes out is float32."""
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.label = f"torch {precision} on {device}"
        self._device = torch.device(device)
        self._narrow = {"f32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._module: torch.nn.Module | None = module.to(self._device).eval()

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        check_inputs(self.inputs, inputs)
        if self._module is None:
            raise EngineError("this engine is closed")
        tensors = [torch.from_numpy(inputs[spec.name].copy()).to(self._device) for spec in self.inputs]
        try:
            with (
                torch.inference_mode(),
                torch.autocast(self._device.type, self._narrow, enabled=self._narrow is not None),
            ):
                values = self._module(*tensors)
        except RuntimeError as error:
            raise EngineError(
                f"{self.label} failed in the network: {str(error).splitlines()[0][:200]}"
            ) from None
        values = values if isinstance(values, tuple) else (values,)
        names = [spec.name for spec in self.outputs]
        return {n: v.float().cpu().numpy() for n, v in zip(names, values, strict=True)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._module = None
