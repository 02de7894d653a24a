"""Where a network's time goes: by kinds of layers that a person knows, the largest first."""

from __future__ import annotations

from tests.trt_engines.networks import conv_network

from veilcast.trt_engines.account import KINDS, account
from veilcast.trt_engines.engine import Settings, load
from veilcast.trt_engines.openvino_engine import OpenVinoEngine


def test_every_layer_is_counted_under_a_kind() -> None:
    data = conv_network()
    with OpenVinoEngine(load(data), Settings(), precision="f32", snippets=False) as engine:
        shapes = {spec.name: spec.opt for spec in engine.inputs}
    spent = account(data, shapes, "f32", 1)
    assert spent["convolutions"] > 0
    assert set(spent) <= {*KINDS.values(), "other"}
    assert list(spent.values()) == sorted(spent.values(), reverse=True)
