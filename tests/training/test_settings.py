"""Settings of training runs: the shipped files, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from veilcast.errors import ConfigError
from veilcast.training import networks
from veilcast.training.settings import Settings, Sizes, load

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def shrunk(sizes: Sizes) -> Sizes:
    """The same shape of network, narrow: as many levels, a sixteenth of the width."""

    def narrow(widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(16, width // 16) for width in widths)

    return replace(
        sizes,
        unet=narrow(sizes.unet),
        decoder=narrow(sizes.decoder),
        encoder=narrow(sizes.encoder),
        reader=narrow(sizes.reader),
        tokens=16,
        heads=2,
        surroundings=16,
    )


@pytest.mark.parametrize("name", ["cpu", "gpu", "medium", "large"])
def test_every_shipped_configuration_builds_networks_for_its_side(name: str) -> None:
    settings = load(CONFIGS / f"{name}.toml")
    tiny = replace(settings, sizes=shrunk(settings.sizes))
    side = tiny.sizes.side
    latent = torch.randn(1, 32, side // 8, side // 8)
    with torch.no_grad():
        clean = networks.build("unet", tiny)(
            latent, torch.ones(1), torch.zeros(1, 4, side, side), torch.zeros(1, 61), torch.zeros(1, 128)
        )
        rgb = networks.build("decoder", tiny)(clean)
        large = networks.build("closeup", tiny)(clean)
        assert networks.build("encoder", tiny)(rgb).shape == latent.shape
        coarse, geometry, identity = networks.build("reader", tiny)(rgb)
    assert rgb.shape == (1, 3, side, side)
    assert large.shape == (1, 3, 2 * side, 2 * side)
    assert (coarse.shape, geometry.shape, identity.shape) == ((1, 3), (1, 61), (1, 128))


def test_the_default_model_fits_its_budget() -> None:
    """All weights of the product in fp16 within 40 MiB."""
    names = ("unet", "decoder", "closeup", "expression", "reader", "identity")
    count = sum(p.numel() for name in names for p in networks.build(name, Settings()).parameters())
    assert 2 * count <= 40 << 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead = 1", "no training setting called sead"),
        ("[parts]\nswop = 1.0", "parts.swop"),
        ('[diffusion]\nbatch = "many"', "diffusion.batch must be int"),
        ("seed = ", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(path)
