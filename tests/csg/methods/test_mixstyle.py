"""MixStyle: the mixture of equations 5 to 7, whose draws are addresses, in training alone."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from csg.messages.errors import UserError
from csg.methods.mixstyle import MixStyle
from csg.models.style_mixing import Draws, StyleMixing, measure_style, mix_styles
from csg.parsing import build_config
from csg.tasks.measurement import Inference
from csg.training.step import Learner
from tests.rivals import doubles, rival


def maps_of(count: int, *, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(count, 3, 4, 5, dtype=torch.float64, generator=draw) + 1


def mixings(it: Learner) -> dict[int, StyleMixing]:
    assert isinstance(it.method, MixStyle)
    return it.method._mixings


def test_a_mixed_map_has_the_mixed_mean_and_deviation_and_its_own_pattern() -> None:
    maps, others = maps_of(2, seed=0), maps_of(2, seed=1)
    shares = torch.tensor([0.25, 0.9], dtype=torch.float64)
    mixed = mix_styles(maps, measure_style(maps), measure_style(others), shares)
    for image, share in enumerate(shares.tolist()):
        for channel in range(3):
            x, other = maps[image, channel], others[image, channel]
            gamma = share * x.std(correction=0) + (1 - share) * other.std(correction=0)
            beta = share * x.mean() + (1 - share) * other.mean()
            expected = gamma * (x - x.mean()) / x.std(correction=0) + beta
            torch.testing.assert_close(mixed[image, channel], expected, rtol=1e-5, atol=1e-5)


def test_no_gradient_passes_through_means_and_deviations() -> None:
    maps = maps_of(2, seed=0).requires_grad_()
    others, weights = maps_of(2, seed=1), maps_of(2, seed=2)
    own, theirs, half = measure_style(maps), measure_style(others), torch.full((2,), 0.5, dtype=torch.float64)
    (weights * mix_styles(maps, own, theirs, half)).sum().backward()  # type: ignore[no-untyped-call]
    deviation = own[:, 1, :, None, None]
    mixed = (deviation + theirs[:, 1, :, None, None]) / 2
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad, weights * mixed / deviation)


def test_each_chosen_stage_is_mixed_as_drawn_with_another_image_of_the_batch() -> None:
    it = rival("mixstyle", method__probability=1.0)
    images = doubles()
    it.method.prepare(images)
    draws = {stage: mixing.draws for stage, mixing in mixings(it).items()}
    maps = it.model(images.query).maps
    plain = copy.deepcopy(it.model.encoder)
    assert list(draws) == [1, 2]
    stage_maps = plain(images.query, 1)[0]
    for stage, module in ((1, plain.list_groups()["stage2"][0]), (2, plain.list_groups()["stage3"][0])):
        drawn = draws[stage]
        assert drawn is not None and sorted(drawn.partners.tolist()) == list(range(8))
        styles = measure_style(stage_maps)
        expected = mix_styles(stage_maps, styles, styles[drawn.partners], drawn.shares)
        torch.testing.assert_close(maps[stage - 1], expected)
        assert not torch.allclose(expected, stage_maps)
        stage_maps = module(expected)
    torch.testing.assert_close(maps[2], stage_maps)
    assert draws[1] is not None and draws[2] is not None
    assert not torch.equal(draws[1].shares, draws[2].shares), "each stage draws for itself"


def test_only_a_step_mixes_and_only_once() -> None:
    it = rival("mixstyle", method__probability=1.0)
    images = doubles()
    with torch.no_grad():
        plain = it.model(images.query).logits
        it.method.prepare(images)
        frozen = Inference(it.model, it.config)(images.query).logits
        mixed, again = it.model(images.query).logits, it.model(images.query).logits
    torch.testing.assert_close(frozen, plain)
    assert torch.equal(again, plain) and not torch.allclose(mixed, plain)


def test_draws_are_those_of_seed_epoch_and_image_and_a_share_of_the_batches_is_mixed() -> None:
    it = rival("mixstyle")
    images = doubles()

    def draw(epoch: int) -> Draws | None:
        it.method.prepare(dataclasses.replace(images, epoch=epoch))
        return mixings(it)[1].draws

    drawn = [draw(epoch) for epoch in range(200)]
    mixed = [draws for draws in drawn if draws is not None]
    assert 70 < len(mixed) < 130, "half of them"
    epoch = drawn.index(mixed[0])
    again, other = draw(epoch), mixed[1]
    assert again is not None and torch.equal(again.shares, mixed[0].shares)
    assert torch.equal(again.partners, mixed[0].partners) and not torch.equal(again.shares, other.shares)
    shares = torch.cat([draws.shares for draws in mixed])
    # Beta(0.1, 0.1): a variance of 1 / (4 (2 * 0.1 + 1)).
    assert shares.mean() == pytest.approx(0.5, abs=0.05) and shares.var() == pytest.approx(1 / 4.8, abs=0.02)


def test_an_encoder_without_maps_and_late_stages_are_refused() -> None:
    mixing = StyleMixing(2)
    mixing.draws = Draws(torch.ones(2), torch.arange(2))
    tokens = nn.Identity()
    tokens.register_forward_hook(mixing)
    with pytest.raises(UserError, match=r"model\.name: mixstyle expected an encoder whose stages give maps .* stage 2"):
        tokens(torch.zeros(2, 5, 8))
    with pytest.raises(UserError, match=r"method\.stages: expected ascending stages of 1 to 3"):
        build_config({"method.name": "mixstyle", "method.stages": "3+4"})
