"""A pattern of the network is told from detail that a photograph may have."""

from __future__ import annotations

import pytest
import torch

from veilcast.training.lattice import woven


def pictures(seed: int = 1) -> torch.Tensor:
    """Detail without a pattern: (4, 3, 160, 160)."""
    return 0.2 * torch.randn(4, 3, 160, 160, generator=torch.Generator().manual_seed(seed))


def test_detail_that_does_not_repeat_is_not_woven() -> None:
    assert woven(pictures()).item() < 0.03


@pytest.mark.parametrize("period", [2, 4, 8, 16])
def test_a_weave_in_half_the_detail_is_seen_whatever_its_period(period: int) -> None:
    tile = torch.randn(1, 1, period, period, generator=torch.Generator().manual_seed(2))
    weave = 0.2 * tile.repeat(4, 3, 160 // period, 160 // period)
    assert woven(pictures() + weave).item() > 0.2


def test_a_weave_whose_sign_changes_is_seen_by_where_its_detail_lies() -> None:
    """The means of all places in the grid are nothing; every fourth column has twice the detail."""
    uneven = pictures(3)
    uneven[..., ::4] *= 2
    assert woven(uneven).item() > 10 * woven(pictures(3)).item()


def test_stripes_that_turn_over_from_place_to_place_are_seen_by_their_covariances() -> None:
    stripes = torch.tensor([1.0, 1, -1, -1]).repeat(40).expand(4, 3, 160, 160)
    sign = torch.randn(4, 1, 10, 10, generator=torch.Generator().manual_seed(4)).sign()
    turned = stripes * sign.repeat_interleave(16, 2).repeat_interleave(16, 3)
    assert woven(pictures() + 0.2 * turned).item() > 10 * woven(pictures()).item()


def test_stripes_of_a_photograph_off_the_grid_are_not_woven() -> None:
    x = torch.arange(160.0)
    stripes = torch.sin(2 * torch.pi * x / 6.7).expand(4, 3, 160, 160)
    assert woven(stripes).item() < 0.1


def test_less_weave_is_less_and_its_gradient_says_so() -> None:
    picture = pictures()
    weave = torch.zeros_like(picture)
    weave[..., ::4] = 0.5
    strength = torch.tensor(0.5, requires_grad=True)
    strong, weak = woven(picture + weave), woven(picture + strength * weave)
    weak.backward()  # type: ignore[no-untyped-call]
    assert weak < strong
    assert strength.grad is not None
    assert strength.grad.item() > 0


def test_a_small_picture_is_judged_by_the_periods_that_it_holds() -> None:
    weave = torch.zeros(1, 3, 32, 32)
    weave[..., ::4] = 1
    assert woven(weave).item() > 0.5
    assert woven(torch.zeros(1, 3, 8, 8)).item() == 0
