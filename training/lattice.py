"""How much of a picture's finest detail is a pattern of the network that drew it.

A decoder that enlarges by pixel shuffle can draw the same few pixels over and over, in step with its grid
("checkerboard artefacts", Odena et al. 2016). An adversary hardly minds; seen near, hair and stubble look
woven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

PERIODS = (2, 4, 8, 16)  # pixels: of every enlargement up to a latent's cell in a close-up
REPEATS = 8  # of a period along the side of a square that is looked at


def woven(rgb: Tensor) -> Tensor:
    """Share of the fine detail that is locked to the grid, over what chance would lock; 0 for photographs.

    rgb: (n, 3, h, w) whose sides are multiples of 16. Fine is what differs from the mean of 5 x 5 pixels. In
    squares of 8 periods a side, which overlap by half, the mean of the 64 pixels of each place in the period
    is nothing for detail that does not repeat, but for 1/64 of its energy by chance. A period of which the
    picture does not hold so many is passed over.
    """
    grey = rgb.mean(1, keepdim=True)
    fine = grey - functional.avg_pool2d(functional.pad(grey, (2, 2, 2, 2), mode="reflect"), 5, 1)
    fit = [period for period in PERIODS if min(rgb.shape[-2:]) >= REPEATS * period]
    return sum((_locked(fine, period) for period in fit), grey.new_zeros(()))


def _locked(fine: Tensor, period: int) -> Tensor:
    places = functional.pixel_unshuffle(fine, period)  # (n, period^2, h / period, w / period)
    mean = functional.avg_pool2d(places, REPEATS, REPEATS // 2)
    energy = functional.avg_pool2d(places.square(), REPEATS, REPEATS // 2)
    share = mean.square().sum() / energy.sum().clamp(min=1e-8)
    return (share - 1 / REPEATS**2).clamp(min=0)
