"""What a run decides by itself."""

from __future__ import annotations

import pytest
import torch

from veilcast.training.phases import precision


@pytest.mark.parametrize(
    ("able", "chosen"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "float32")],
)
def test_bf16_is_used_where_the_processor_computes_it(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert precision("auto", torch.device("cpu")) == chosen
    assert precision("auto", torch.device("cuda")) == "bf16"
    assert precision("bf16", torch.device("cpu")) == "bf16"
