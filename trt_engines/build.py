"""From networks to stored engines: what `veilcast engines build` does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from veilcast.trt_engines import rtx_build
from veilcast.trt_engines.models import default_folder
from veilcast.trt_engines.network import checked
from veilcast.trt_engines.rtx_build import BadProfile, BuildPrecision, Profile
from veilcast.trt_engines.store import EngineStore, Recipe


@dataclass(frozen=True, slots=True)
class Built:
    """One engine: `fresh` False = it was there already, built to the same recipe."""

    recipe: Recipe
    bytes: int
    fresh: bool


def default_store() -> EngineStore:
    """Beside the weights."""
    return EngineStore(default_folder().parent / "engines" / "rtx")


def profile(
    data: bytes, batch: tuple[int, int, int], sizes: Mapping[str, Sequence[int]] | None = None
) -> Profile:
    """Shapes (least, best, most) of every input: the first dimension is the batch where the file leaves
    it open; others are taken from `sizes` (input -> dimensions without the batch). Raises BadProfile."""
    found: dict[str, tuple[Sequence[int], Sequence[int], Sequence[int]]] = {}
    for value in checked(data).graph.input:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        rest = list((sizes or {}).get(value.name, dims[1:]))
        if 0 in rest:
            raise BadProfile(
                f"the size of the input {value.name} is open: say it, as in --size {value.name}=3x384x640"
            )
        least, best, most = ([n if dims[0] == 0 else dims[0], *rest] for n in batch)
        found[value.name] = (least, best, most)
    return found


def build_all(
    networks: Mapping[str, bytes],
    precisions: Sequence[BuildPrecision],
    targets: Sequence[int],
    store: EngineStore,
    *,
    batch: tuple[int, int, int] = (1, 8, 16),
    sizes: Mapping[str, Sequence[int]] | None = None,
) -> Iterator[Built]:
    """Every network in every precision, one engine for all targets; what is stored already is checked
    and left. Raises BuildError, ModelCorrupt, ModelMissing."""
    library = f"tensorrt-rtx {rtx_build.version()}"
    for name, data in networks.items():
        shapes = profile(data, batch, sizes)
        for precision in precisions:
            recipe = Recipe(
                name,
                hashlib.sha256(data).hexdigest(),
                {key: tuple(tuple(shape) for shape in value) for key, value in shapes.items()},
                precision,
                library,
                tuple(f"sm{target}" for target in targets),
            )
            known = store.find(recipe)
            engine = known if known is not None else rtx_build.build(data, shapes, precision, targets)
            if known is None:
                store.put(recipe, engine)
            yield Built(recipe, len(engine), known is None)


def read_networks(paths: Sequence[Path]) -> dict[str, bytes]:
    """ONNX files by stem. Raises ModelMissing, ModelCorrupt."""
    from veilcast.trt_engines.engine import load

    networks = {path.stem: load(path).data for path in paths}
    for data in networks.values():
        checked(data)
    return networks
