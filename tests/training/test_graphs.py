"""A recorded network gives what the network gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from veilcast.training import graphs


def net(device: str) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 4)).to(device)


def gradients(made: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(made.parameters())))


def test_on_a_processor_networks_are_called_as_they_are() -> None:
    made, given = net("cpu"), torch.randn(3, 8)
    assert graphs.taught(made, given) is made
    (answer,) = graphs.asked(lambda x: (made(x),), given)(given)
    assert torch.equal(answer, made(given))
    assert not answer.requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_recorded_network_answers_and_learns_as_the_network_itself() -> None:
    made, (first, second) = net("cuda"), torch.randn(2, 16, 8, device="cuda")
    recorded, asked = graphs.taught(made, first), graphs.asked(lambda x: (made(x),), first)
    for given in (first, second):
        plain = made(given)
        wanted = gradients(made, plain.square().sum())
        found = recorded(given)
        torch.testing.assert_close(found, plain)
        torch.testing.assert_close(gradients(made, found.square().sum()), wanted)
        torch.testing.assert_close(asked(given)[0], plain)
    with torch.no_grad():
        next(made.parameters()).mul_(2)
    torch.testing.assert_close(asked(second)[0], made(second))
