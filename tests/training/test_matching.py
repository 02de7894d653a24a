"""Distribution matching: one step is asked to move to where the denoiser's density exceeds its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from veilcast.training.data import Batch
from veilcast.training.matching import Matching


class Sees(nn.Module):
    """A denoiser that sees one value everywhere, and nobody's is 0."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor, t: Tensor, *told: Tensor, masked: Tensor | None = None) -> Tensor:
        seen = self.value.expand_as(x)
        return seen if masked is None else seen * (~masked)[:, None, None, None]


def batch(n: int) -> Batch:
    nothing = torch.zeros(n, 3, 8, 8)
    few = torch.zeros(n, 1)
    return Batch(nothing, nothing[:, :1], few, few, few, few, few, few, few, None)


def asked(matching: Matching, value: float) -> Tensor:
    """The gradient of the loss where all that is drawn has `value`."""
    guess = torch.full((4, 2, 3, 3), value, requires_grad=True)
    seen = guess, batch(4), torch.zeros(4, 128), torch.Generator().manual_seed(1)
    matching.saw(*seen)
    loss = matching.loss(*seen)
    (gradient,) = torch.autograd.grad(loss, guess)
    return gradient


def matched(real: float, drawn: float, guidance: float = 1.0) -> Matching:
    matching = Matching(Sees(real).requires_grad_(False), guidance)
    for value in matching.drawn.parameters():
        nn.init.constant_(value, drawn)
    return matching


def test_nothing_is_asked_where_both_densities_are_the_same() -> None:
    assert asked(matched(0.7, 0.7), 0.2).abs().max() == 0


@pytest.mark.parametrize("real", [1.0, -1.0])
def test_what_is_drawn_moves_from_its_own_density_to_the_denoisers(real: float) -> None:
    gradient = asked(matched(real, 0.0), 0.0)
    assert (gradient * real < 0).all()


def test_a_sample_far_from_the_denoisers_weighs_no_more_than_a_near_one() -> None:
    near, far = asked(matched(1.0, 0.0), 0.0), asked(matched(10.0, 0.0), 0.0)
    assert torch.allclose(near, far)


def test_guidance_goes_beyond_what_the_denoiser_sees() -> None:
    plain, guided = asked(matched(1.0, 1.0), 0.0), asked(matched(1.0, 1.0, guidance=2.0), 0.0)
    assert plain.abs().max() == 0
    assert (guided < 0).all()


def test_the_second_network_learns_what_is_drawn() -> None:
    matching = matched(1.0, 1.0)
    asked(matching, 0.25)
    optimiser = torch.optim.SGD(matching.drawn.parameters(), 0.1)
    for _ in range(50):
        optimiser.zero_grad()
        matching.own_loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    drawn, real = (next(net.parameters()).item() for net in (matching.drawn, matching.real))
    assert drawn == pytest.approx(0.25, abs=0.01)
    assert real == 1.0
