"""TensorRT-RTX: engines built ahead of time, on a processor, for GPUs that are not here.

THE ONLY FILE THAT IMPORTS tensorrt_rtx. A build proves that the network parses and that every layer
has a kernel for the target with the real profile; it proves neither numbers nor speed, and the bytes
differ at every build. Engines are native code: they are loaded only by their hash (`store`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from veilcast.errors import EngineError
from veilcast.trt_engines.network import checked, half
from veilcast.trt_engines.quantise import quantised_kind
from veilcast.trt_engines.simplify import simplified

BuildPrecision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]  # input -> least, best, most
TARGETS = (75, 80, 86, 89, 120)
# the first architecture whose tensor cores have the type (NVIDIA's CUDA programming guide, arithmetic table)
NEEDS = {"fp32": 75, "fp16": 75, "bf16": 80, "int8": 80, "fp8": 89}


class BuildError(EngineError):
    """The base of what a build can fail with."""


class BadProfile(BuildError):
    """A profile is missing, in the wrong order, or does not fit the network."""


class UnsupportedNetwork(BuildError):
    """The network does not parse, or a layer has no implementation."""


class UnsupportedTarget(BuildError):
    """The architecture is unknown or lacks the precision."""


def version() -> str:
    return str(_library().__version__)


def build(data: bytes, profile: Profile, precision: BuildPrecision, targets: Sequence[int]) -> bytes:
    """One engine for all `targets` (SM numbers). int8 and fp8 take a network that is quantised already
    (quantise.py), the rest of which runs in fp16. Raises BuildError, ModelCorrupt."""
    _check_targets(precision, targets)
    _check_profile(data, profile)
    _check_kind(data, precision)
    if precision != "fp32":
        data = half(simplified(data), "bf16" if precision == "bf16" else "fp16")
    trt = _library()
    log = _Log(trt)
    builder = trt.Builder(log.sink)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log.sink)
    if not parser.parse(data):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise UnsupportedNetwork(f"TensorRT-RTX cannot read the network: {_sentence(reasons or log.lines)}")
    config = _config(trt, builder, profile, targets)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise UnsupportedNetwork(f"TensorRT-RTX cannot build the network: {_sentence(log.lines)}")
    return bytes(engine)


def _library() -> Any:
    try:
        import tensorrt_rtx
    except ImportError:
        raise BuildError("TensorRT-RTX is not installed: pip install 'veilcast[rtx]'") from None
    return tensorrt_rtx


def _config(trt: Any, builder: Any, profile: Profile, targets: Sequence[int]) -> Any:
    config = builder.create_builder_config()
    ranges = builder.create_optimization_profile()
    for name, shapes in profile.items():
        ranges.set_shape(name, *[tuple(shape) for shape in shapes])
    if config.add_optimization_profile(ranges) < 0:
        raise BadProfile("TensorRT-RTX refuses the profile: its shapes are not in order")
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{target}"), index)
    return config


def _check_targets(precision: str, targets: Sequence[int]) -> None:
    for target in targets:
        if target not in TARGETS:
            known = ", ".join(map(str, TARGETS))
            raise UnsupportedTarget(f"TensorRT-RTX builds for SM {known}, not for SM {target}")
        if target < NEEDS[precision]:
            raise UnsupportedTarget(
                f"SM {target} has no {precision}: the first that has is SM {NEEDS[precision]}"
            )
    if not targets:
        raise UnsupportedTarget("no target was given: name at least one SM")


def _check_kind(data: bytes, precision: str) -> None:
    """A network without pairs would build as int8 all the same, in float32 and under a false name."""
    kind = quantised_kind(data)
    if precision in ("int8", "fp8") and kind != precision:
        raise UnsupportedNetwork(
            f"the network is not quantised to {precision}: run `veilcast engines quantise` first"
        )
    if kind is not None and kind != precision:
        raise UnsupportedNetwork(f"the network is quantised to {kind}: build it as that, not as {precision}")


def _check_profile(data: bytes, profile: Profile) -> None:
    """Every input has three shapes of its own rank, in order, that agree with what the file fixes."""
    for value in checked(data).graph.input:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.name not in profile:
            raise BadProfile(f"the profile lacks the input {value.name}")
        for shapes in zip(dims, *profile[value.name], strict=False):
            fixed, low, best, high = shapes
            if not (0 < low <= best <= high) or (fixed and (low, high) != (fixed, fixed)):
                raise BadProfile(
                    f"the profile of {value.name} does not fit: {profile[value.name]} for {dims}"
                )
        if any(len(shape) != len(dims) for shape in profile[value.name]):
            raise BadProfile(f"the profile of {value.name} must have {len(dims)} dimensions")


class _Log:
    """Keeps the builder's complaints and prints nothing."""

    def __init__(self, trt: Any) -> None:
        self.lines: list[str] = []
        lines, worst = self.lines, trt.ILogger.Severity.ERROR

        class Sink(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
            def log(self, severity: Any, message: str) -> None:
                if severity <= worst:
                    lines.append(message)

        self.sink = Sink()


def _sentence(lines: Sequence[str]) -> str:
    return lines[-1].strip().splitlines()[0][:200] if lines else "it gives no reason"
