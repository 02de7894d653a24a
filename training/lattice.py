"""How much of a picture's finest detail is in step with the grid of the network that drew it.

A decoder that enlarges by pixel shuffle has a kernel of its own for each place in its grid ("checkerboard
artefacts", Odena et al. 2016): it draws the same few pixels over and over, or finer detail in some rows and
columns than between them. An adversary hardly minds; seen near, hair and stubble look woven. Photographs do
not know the grid: mean and covariances of their detail are the same at each of its places, which is what
cyclostationarity tests look for (Gardner et al. 2006, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

PERIODS = (4, 8, 16)  # pixels: of the grids of the enlargements up to a latent's cell in a close-up
REPEATS = 8  # of a period along the side of a square in which a pattern may keep its sign
LAGS = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0))  # rows and columns between two pixels of a covariance
_AROUND = 8  # pixels on each side whose detail tells how much there is


def woven(rgb: Tensor) -> Tensor:
    """How far the mean and the covariances of fine detail differ from place to place in the grid; about 0 for
    photographs.

    rgb: (n, 3, h, w) in [-1, 1] whose sides are multiples of 16. Fine is what differs from the mean of 5 x 5
    pixels, in units of its standard deviation around. A period of which the picture does not hold 8 is passed
    over.
    """
    grey = rgb.mean(1, keepdim=True)
    fine = grey - _mean(grey, 2)
    level = (_mean(fine.detach().square(), _AROUND) + 1e-4).sqrt()
    even = fine / level
    fit = [period for period in PERIODS if min(rgb.shape[-2:]) >= REPEATS * period]
    return sum((_mean_in_step(fine, p) + _covariance_in_step(even, p) for p in fit), grey.new_zeros(()))


def _mean(picture: Tensor, around: int) -> Tensor:
    return functional.avg_pool2d(picture, 2 * around + 1, 1, around, count_include_pad=False)


def _mean_in_step(fine: Tensor, period: int) -> Tensor:
    """Share of the energy in the means of each place of the grid, in squares of 8 periods that overlap
    by half, over the 1/64 that is there by chance."""
    places = functional.pixel_unshuffle(fine, period)  # (n, period^2, h / period, w / period)
    mean = functional.avg_pool2d(places, REPEATS, REPEATS // 2)
    energy = functional.avg_pool2d(places.square(), REPEATS, REPEATS // 2)
    share = mean.square().sum() / energy.sum().clamp(min=1e-8)
    return (share - 1 / REPEATS**2).clamp(min=0)


def _covariance_in_step(even: Tensor, period: int) -> Tensor:
    """Variance, over the places of the grid, of the covariances at each of the lags, in units of the squared
    variance of all."""
    h, w = even.shape[-2] - period, even.shape[-1] - period
    squared = even.square().mean().square().clamp(min=1e-8)
    differs = even.new_zeros(())
    for down, right in LAGS:
        products = even[..., :h, :w] * even[..., down : down + h, right : right + w]
        at = functional.pixel_unshuffle(products, period).mean((0, 2, 3))
        differs = differs + at.var(correction=0) / squared
    return differs
