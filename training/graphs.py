"""Networks replayed as CUDA graphs. In batches of a hundred a GPU is done with a layer before Python has
asked for the next one; a graph asks for all of them at once. Elsewhere the network is called as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WARM = 3  # calls before a recording, in which kernels are chosen


class _Whole(nn.Module):
    """Recording changes the module that is recorded; this one is, and the network stays as it was."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *given: Tensor) -> Tensor:
        out: Tensor = self.net(*given)
        return out


def taught(net: nn.Module, *given: Tensor) -> Callable[..., Tensor]:
    """`net` for tensors of these shapes, forwards and back; its weights may change in place."""
    if given[0].device.type != "cuda":
        return net
    with torch.autocast("cuda", torch.bfloat16, torch.is_autocast_enabled("cuda"), cache_enabled=False):
        recorded: Callable[..., Tensor] = torch.cuda.make_graphed_callables(  # type: ignore[assignment]
            _Whole(net), given, allow_unused_input=True
        )
    return recorded


def asked(call: Callable[..., tuple[Tensor, ...]], *given: Tensor) -> Callable[..., tuple[Tensor, ...]]:
    """`call` for tensors of these shapes, without a way back. The next call writes over what it returned."""
    if given[0].device.type != "cuda":
        return torch.no_grad()(call)
    kept, aside = [value.clone() for value in given], torch.cuda.Stream()  # type: ignore[no-untyped-call]
    precision = torch.autocast("cuda", torch.bfloat16, torch.is_autocast_enabled("cuda"), cache_enabled=False)
    with torch.no_grad(), precision:
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM):
                call(*kept)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = call(*kept)

    def replay(*values: Tensor) -> tuple[Tensor, ...]:
        for old, new in zip(kept, values, strict=True):
            old.copy_(new)
        graph.replay()
        return answer

    return replay
