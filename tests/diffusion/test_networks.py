"""The networks: what they must keep apart, and what they begin as."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from veilcast.diffusion import patch, precond
from veilcast.diffusion.autoencoder import Decoder, Encoder, Even
from veilcast.diffusion.conditioning import IDENTITY, veil
from veilcast.diffusion.harmonizer import Harmonizer
from veilcast.diffusion.identity_vae import IdentityVae, centre, gathered, spread
from veilcast.diffusion.patch import GEOMETRY
from veilcast.diffusion.unet import UNet, UNetSize, scales
from veilcast.pipeline.views import averaged

TINY = UNetSize(widths=(16, 32, 32), depth=1, tokens=16, heads=2, surroundings=16)


def inputs(count: int = 2, side: int = 64) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "x": torch.randn(count, 32, side // 8, side // 8),
        "t": torch.rand(count),
        "veiled": torch.randn(count, 4, side, side),
        "geometry": torch.randn(count, GEOMETRY),
        "identity": nn.functional.normalize(torch.randn(count, IDENTITY), dim=1),
    }


def lively(net: nn.Module) -> nn.Module:
    """Random weights everywhere, so that no branch is silent."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net.eval()


@pytest.mark.parametrize("side", [64, 128, 256])
def test_one_network_serves_every_patch_size(side: int) -> None:
    given = inputs(side=side)
    assert UNet(TINY)(**given).shape == given["x"].shape


def test_an_untrained_denoiser_gives_the_best_linear_guess() -> None:
    """Its head begins as nothing, so D(x, t) = skip x."""
    given = inputs()
    keep = precond.weights(given["t"]).skip[:, None, None, None]
    torch.testing.assert_close(UNet(TINY)(**given), keep * given["x"])


def test_the_preconditioning_in_the_graph_is_the_documented_one() -> None:
    t = torch.linspace(0, 1, 5)
    into, keep, out = scales(t)
    wanted = precond.weights(t)
    torch.testing.assert_close(into.flatten(), wanted.scale)
    torch.testing.assert_close(keep.flatten(), wanted.skip)
    torch.testing.assert_close(out.flatten(), wanted.out)


def test_a_masked_identity_leaves_no_trace() -> None:
    net, given = lively(UNet(TINY)), inputs()
    other = {**given, "identity": given["identity"].flip(1)}
    masked = torch.tensor([True, False])
    one, two = net(**given, masked=masked), net(**other, masked=masked)
    torch.testing.assert_close(one[0], two[0])
    assert not torch.allclose(one[1], two[1])


def test_samples_of_a_batch_do_not_mix() -> None:
    net, given = lively(UNet(TINY)), inputs(3)
    alone = {name: value[1:2] for name, value in given.items()}
    torch.testing.assert_close(net(**given)[1:2], net(**alone), atol=1e-4, rtol=1e-4)


def test_an_open_gate_passes_identity_and_a_shut_one_attributes() -> None:
    torch.manual_seed(0)
    block = Harmonizer(16, 8, 12, 2)
    for part in (block.identity.out, block.attributes.out):
        nn.init.normal_(part.weight)
    u, who, how, e = torch.randn(1, 16, 4, 4), torch.randn(1, 4, 8), torch.randn(1, 8, 8), torch.zeros(1, 12)
    other = torch.randn_like(how)
    with torch.no_grad():
        block.time.weight.zero_()
        block.time.bias.fill_(50.0)  # g = 1
        assert torch.allclose(block(u, who, how, e), block(u, who, other, e), atol=1e-5)
        block.time.bias.fill_(-50.0)  # g = 0
        assert not torch.allclose(block(u, who, how, e), block(u, who, other, e), atol=1e-3)


def test_the_gate_can_be_left_out() -> None:
    block = Harmonizer(16, 8, 12, 2, gated=False)
    assert block.gate is None
    out = block(torch.randn(1, 16, 4, 4), torch.randn(1, 4, 8), torch.randn(1, 8, 8), torch.zeros(1, 12))
    assert out.shape == (1, 16, 4, 4)


def test_autoencoder_shapes() -> None:
    rgb = torch.randn(1, 3, 128, 128)
    latent = Encoder((16, 16, 32))(rgb)
    assert latent.shape == (1, 32, 16, 16)
    assert Decoder((32, 16, 16))(latent).shape == rgb.shape
    assert Decoder((32, 16, 16, 8))(latent).shape == (1, 3, 256, 256)


def test_the_close_up_head_cannot_draw_a_grid_of_single_pixels() -> None:
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    for grid in (x, y, x + y):
        flicker = (1 - 2 * (grid % 2)).float().expand(1, 3, 32, 32)
        assert Even()(flicker)[:, :, 4:-4, 4:-4].abs().max() < 1e-6
    smooth = torch.sin(x / 8).expand(1, 3, 32, 32)
    assert (Even()(smooth) - smooth)[:, :, 4:-4, 4:-4].abs().max() < 0.01


def test_a_wild_latent_does_not_blow_up_the_picture() -> None:
    net = lively(Decoder((32, 16, 16)))
    latent = torch.randn(1, 32, 16, 16)
    calm, wild = (net(scale * latent).abs().max() for scale in (4.0, 4000.0))
    assert wild < 4 * calm


def test_drawn_people_are_unit_vectors_that_depend_on_z_and_attributes() -> None:
    draw = lively(IdentityVae().draw)
    z, coarse = torch.randn(4, 64), torch.tensor([0.4, 1.0, 0.3]).expand(4, 3)
    assert torch.allclose(draw(z, coarse).norm(dim=1), torch.ones(4), atol=1e-4)
    assert not torch.allclose(draw(z, coarse), draw(z, coarse - 0.5))


def test_coarse_attributes_survive_their_scaling() -> None:
    coarse = torch.rand(5, 3)
    torch.testing.assert_close(gathered(spread(coarse)), coarse)


def test_centring_takes_the_common_part_away() -> None:
    torch.manual_seed(0)
    raw = torch.randn(500, IDENTITY) + 3
    mean = nn.functional.normalize(raw, dim=1).mean(0)
    centred = centre(raw, mean)
    assert nn.functional.cosine_similarity(raw[0], raw[1], dim=0) > 0.8
    assert (centred @ centred.T).fill_diagonal_(0).mean().abs() < 0.02


@pytest.mark.parametrize("side", [128, 256])
def test_training_and_run_time_veil_a_picture_alike(side: int) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (side, side, 3), np.uint8)
    hidden = (rng.random((side, side)) > 0.5).astype(np.float32)
    many = veil(
        torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1, torch.from_numpy(hidden)[None, None]
    )
    once = patch.veiled(averaged(rgb, hidden), hidden)
    np.testing.assert_allclose(many[0].numpy(), once, atol=0.51 / 127.5)  # whole levels
