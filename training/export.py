"""Networks to ONNX with fp16 initialisers and float32 arithmetic, and a model folder with its manifest."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from veilcast.diffusion.patch import GEOMETRY
from veilcast.diffusion.readers import CoarseReader, Reader
from veilcast.diffusion.weights import read_tensors, write_tensors
from veilcast.pipeline.generator_model import CONSTANTS, listed, read_manifest, scales_of
from veilcast.training import networks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from veilcast.training.settings import Settings

OPSET = 18
NETWORKS = {  # file of a model folder -> network whose part in the product it is
    "unet.onnx": "unet",
    "decoder.onnx": "decoder",
    "closeup.onnx": "closeup",
    "identity.onnx": "identity",
    "expression.onnx": "expression",
    "coarse.onnx": "reader",
}
LOUDNESS = "identity.net.0.weight"  # of the denoiser: what the command is multiplied by first
SMALL = 1024  # elements under which a constant stays float32: scales and shifts, whose rounding would show


def to_onnx(net: nn.Module, inputs: Mapping[str, tuple[int, ...]], output: str, half: bool = True) -> bytes:
    """ONNX bytes. `inputs`: shapes without the batch, which is dynamic ("n"). `half`: large initialisers
    stored as fp16, each with a cast to float32 that engines fold when they load."""
    examples = tuple(torch.rand(2, *shape) * 0.5 + 0.25 for shape in inputs.values())
    file: Any = io.BytesIO()  # the exporter takes one, its types do not say so
    axes = {name: {0: "n"} for name in (*inputs, output)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval().cpu(),
            examples,
            file,
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=axes,
            opset_version=OPSET,
            do_constant_folding=False,  # parameters keep their names, for `read_back`; engines fold them
            dynamo=False,  # the newer exporter fixes the batch where a graph reshapes by it
        )
    model = onnx.load_model_from_string(file.getvalue())
    return bytes((halved(model) if half else model).SerializeToString())


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Large float32 initialisers as fp16, cast back where they are used."""
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= SMALL:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def input_name(model: bytes) -> str:
    """Of a network with one input."""
    return str(onnx.load_model_from_string(model).graph.input[0].name)


def read_back(model: bytes, net: nn.Module) -> None:
    """Fill `net` with the weights of its own export: what training starts from where only the product is
    at hand. The learned null identity serves training alone and is left as it is."""
    graph = onnx.load_model_from_string(model).graph
    found = {t.name.removesuffix(".half"): numpy_helper.to_array(t) for t in graph.initializer}
    state = net.state_dict()
    for name, value in state.items():
        if name.endswith(".null"):
            continue
        state[name] = torch.from_numpy(found[name].astype(np.float32)).reshape(value.shape)
    net.load_state_dict(state)


def adopt(folder: Path, settings: Settings, weights: Path) -> list[str]:
    """A shipped model's networks as finished ones of a run: what training goes on from where only the product
    is at hand. Parts that a model folder does not hold (the encoder of the Identity VAE, the reader's other
    heads) begin anew when their phase is run. Returns their names. Raises ModelMissing, ModelCorrupt."""
    files, taken = listed(folder, read_manifest(folder)), []
    for file, name in NETWORKS.items():
        if file in files:
            net = networks.build(name, settings)
            read_back(files[file].read(), _part(net))
            networks.save(net, weights, name)
            taken.append(name)
    constants = read_tensors(folder / CONSTANTS)
    if "latent_mean" in constants:
        normaliser = {"mean": constants["latent_mean"], "deviation": constants["latent_deviation"]}
        write_tensors(networks.path(weights, "normaliser"), normaliser)
    return taken


def average(folder: Path, settings: Settings, weights: Path, share: float = 0.5, louder: float = 1.0) -> None:
    """A run's denoiser becomes the mean of itself and a model folder's, which has so large a `share`, weight
    by weight (Wortsman et al. 2022, a soup of two). Where one began at the other's weights it keeps what both
    have learned, and most of what the losses of recognition did to faces averages out. What a mean loses of
    its hold on a persona comes back when the command is told `louder`: so many times its length.
    Raises ModelMissing, ModelCorrupt."""
    other = networks.build("unet", settings)
    read_back(listed(folder, read_manifest(folder))["unet.onnx"].read(), other)
    own = networks.load("unet", settings, weights)
    theirs = other.state_dict()
    mean = {
        name: value if name.endswith(".null") else value + share * (theirs[name] - value)
        for name, value in own.state_dict().items()
    }
    mean[LOUDNESS] = louder * mean[LOUDNESS]
    own.load_state_dict(mean)
    networks.save(own, weights, "unet")


def graphs(settings: Settings, weights: Path) -> dict[str, bytes]:
    """Every finished network of the product, by file name."""
    sizes = settings.sizes
    side, cells = sizes.side, sizes.side // 8
    latent: dict[str, tuple[int, ...]] = {"latent": (32, cells, cells)}
    shapes: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
        "unet.onnx": (_unet_inputs(side, cells), "clean"),
        "decoder.onnx": (latent, "rgb"),
        "closeup.onnx": (latent, "rgb"),
        "identity.onnx": ({"z": (64,), "coarse": (3,)}, "identity"),
        "expression.onnx": ({"landmarks": (478, 2)}, "blendshapes"),
        "coarse.onnx": ({"rgb": (3, side, side)}, "coarse"),
    }
    return {
        file: to_onnx(_part(networks.load(name, settings, weights)), *shapes[file])
        for file, name in NETWORKS.items()
        if networks.finished(name, weights)
    }


def _unet_inputs(side: int, cells: int) -> dict[str, tuple[int, ...]]:
    return {
        "x": (32, cells, cells),
        "t": (),
        "veiled": (4, side, side),
        "geometry": (GEOMETRY,),
        "identity": (128,),
    }


def _part(net: nn.Module) -> nn.Module:
    """What of a network runs in the product."""
    if isinstance(net, Reader):
        return CoarseReader(net)
    draw = getattr(net, "draw", None)
    return draw if isinstance(draw, nn.Module) else net


@dataclass(frozen=True)
class About:
    """What a model folder says of itself. `times`: noise levels at which the sampler asks the network.
    `truncation`: share of the noise that it begins from."""

    name: str
    licence: str
    times: tuple[float, ...] = (1.0,)
    truncation: float = 1.0


def write_model(
    folder: Path,
    settings: Settings,
    weights: Path,
    constants: Mapping[str, np.ndarray],
    about: About,
    scaled: Callable[[Mapping[str, bytes]], Mapping[str, bytes]] = lambda graphs: {},
) -> None:
    """A model folder as `run --model` reads it: graphs, constants, manifest with the hash of each file.
    `scaled`: from the graphs to the files of what they are run in eight bits by."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(scales_of("*")):
        old.unlink()  # of other weights
    made = graphs(settings, weights)
    for name, data in {**made, **scaled(made)}.items():
        (folder / name).write_bytes(data)
    values = {k: v.astype(np.float32) for k, v in constants.items()}
    if networks.finished("normaliser", weights):  # for training alone, so that latents keep their scale
        fitted = read_tensors(networks.path(weights, "normaliser"))
        values |= {f"latent_{k}": v for k, v in fitted.items()}
    write_tensors(folder / CONSTANTS, values)
    files = sorted(p for p in folder.iterdir() if p.suffix in {".onnx", ".safetensors", ".npz"})
    hashes = {p.name: {"sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in files}
    manifest = {"format": 1, **asdict(about), "files": hashes}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
