"""The decoders learn on personas: they stay the faces they were, in surroundings that are photographs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training import toy

from veilcast.diffusion.weights import read_tensors
from veilcast.training import networks, perceptual
from veilcast.training.data import Faces, assemble
from veilcast.training.polish import CloseUpPolishPhase, PolishPhase
from veilcast.training.sets import from_cache
from veilcast.training.settings import Settings, load
from veilcast.training.tools import Tools

READY = ("unet", "decoder", "closeup", "identity", "normaliser")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    folder = tmp_path_factory.mktemp("polish")
    (folder / "tiny.toml").write_text(toy.TINY)
    settings = load(folder / "tiny.toml")
    toy.cache(folder / "cache")
    torch.manual_seed(0)
    for name in READY:
        networks.save(networks.build(name, settings), folder / "weights", name)
    metric = perceptual.Lpips(read_tensors(toy.lpips(folder / "lpips.safetensors"))).eval()
    unused = torch.nn.Identity()
    return Tools(
        from_cache(folder / "cache", latents=False),
        replace(settings, measured=4),
        folder / "weights",
        unused,
        metric,
        unused,  # type: ignore[arg-type]
        unused,  # type: ignore[arg-type]
        large_faces(),
    )


def large_faces() -> Faces:
    rng = np.random.default_rng(1)
    arrays = {
        "patch": rng.integers(0, 256, (8, 256, 256, 3), np.uint8),
        "dlib": rng.standard_normal((8, 128)).astype(np.float32),
    }
    return assemble(arrays, [f"{n}" for n in range(8)], np.zeros(8, bool), np.arange(8), "cpu")


def test_without_an_adversary_there_is_nothing_to_change(tools: Tools) -> None:
    phase = PolishPhase(without_adversary(tools))
    terms = phase.losses(torch.Generator().manual_seed(1), 2, 0)
    assert phase.critic is None
    assert {n: v.item() for n, v in terms.items()} == pytest.approx({"kept": 0.0, "colours": 0.0}, abs=1e-6)


@pytest.mark.parametrize("kind", [PolishPhase, CloseUpPolishPhase])
def test_the_adversary_moves_the_head_and_nothing_else(kind: type[PolishPhase], tools: Tools) -> None:
    phase = kind(tools)
    terms = phase.losses(torch.Generator().manual_seed(1), 2, 0)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in phase.trained.parameters())
    assert not any(p.requires_grad for p in (*phase.unet.parameters(), *phase.before.parameters()))
    assert phase.critic_loss().item() > 0


def test_a_close_up_is_seen_small_in_its_photograph_and_whole_without_it(tools: Tools) -> None:
    phase = CloseUpPolishPhase(tools)
    batch = tools.faces.batch(tools.faces.train[:2], torch.Generator())
    made = torch.full((2, 3, 256, 256), 9.0)
    coarse = torch.full_like(batch.rgb, 9.0)
    shown = phase._shown(made, coarse, torch.cat([batch.rgb, batch.hidden], 1))
    outside = batch.hidden.expand_as(batch.rgb) == 0
    assert torch.equal(shown["patch"][outside], batch.rgb[outside])
    assert torch.equal(shown["whole"], made)
    assert set(phase.rivals) == set(shown) == set(phase._photographs(2, torch.Generator()))


def test_the_adversary_sees_personas_in_their_photographs(tools: Tools) -> None:
    phase = PolishPhase(tools)
    batch = tools.faces.batch(tools.faces.train[:2], torch.Generator())
    around = torch.cat([batch.rgb, batch.hidden], 1)
    made = torch.full_like(batch.rgb, 9.0)
    shown = phase._shown(made, made, around)["patch"]
    outside, inside = batch.hidden.expand_as(shown) == 0, batch.hidden.expand_as(shown) == 1
    assert bool(outside.any())
    assert torch.equal(shown[outside], batch.rgb[outside])
    assert bool((shown[inside] == 9).all())


class Doubled(torch.nn.Module):
    """The patch's decoder, with four pixels for each of its own."""

    def __init__(self, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        rgb: torch.Tensor = self.decoder(latents)
        return rgb.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_a_close_up_that_is_the_patch_at_twice_the_size_has_nothing_to_change(tools: Tools) -> None:
    phase = CloseUpPolishPhase(without_adversary(tools))
    first = phase.losses(torch.Generator().manual_seed(1), 2, 0)
    assert min(value.item() for value in first.values()) > 0.01, "another head is drawn towards it"
    phase.trained["closeup"] = Doubled(phase.before)
    terms = phase.losses(torch.Generator().manual_seed(1), 2, 0)
    assert {n: v.item() for n, v in terms.items()} == pytest.approx({"kept": 0.0, "colours": 0.0}, abs=1e-6)


@pytest.mark.parametrize("kind", [PolishPhase, CloseUpPolishPhase])
def test_a_head_that_was_not_moved_is_as_sharp_as_before(kind: type[PolishPhase], tools: Tools) -> None:
    phase = kind(tools)
    if kind is CloseUpPolishPhase:
        phase.trained["closeup"] = Doubled(phase.before)
    with torch.no_grad():
        found = phase.measure(phase.trained.eval())
        assert phase.sheet(phase.trained).ndim == 3
    assert found.pop("woven") >= 0
    assert found == pytest.approx({"lpips_to_before": 0.0, "sharpness_over_before": 1.0}, abs=1e-5)


class Woven(torch.nn.Module):
    """A head that draws the same stripes wherever it draws, as strongly as it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        n, _, h, w = latents.shape
        stripes = torch.zeros(n, 3, h * 16, w * 16)
        stripes[..., ::4] = 1
        return 0.2 * torch.randn(stripes.shape) + self.strength * stripes


def test_a_pattern_of_the_network_is_taken_off(tools: Tools) -> None:
    phase = CloseUpPolishPhase(tools)
    phase.trained["closeup"] = head = Woven()
    term = phase.losses(torch.Generator().manual_seed(1), 2, 0)["woven"]
    assert term.item() > 0.1
    term.backward()  # type: ignore[no-untyped-call]
    assert head.strength.grad is not None
    assert head.strength.grad.item() > 0


def without_adversary(tools: Tools) -> Tools:
    settings: Settings = replace(
        tools.settings, weights=replace(tools.settings.weights, polish=0.0, woven=0.0)
    )
    return replace(tools, settings=settings)
