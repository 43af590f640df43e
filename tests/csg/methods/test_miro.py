"""MIRO's bound, against its formula written by hand, and its variances, which learn."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from csg.losses.gaussian_bound import gaussian_bound
from csg.messages.errors import UserError
from csg.methods.miro import Miro
from tests.csg.methods.test_methods import learner
from tests.rivals import doubles, rival


def test_the_bound_is_the_equation_written_out_and_its_gradient_is_right() -> None:
    draw = torch.Generator().manual_seed(0)
    features, frozen = (torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=draw) for _ in range(2))
    variance = torch.rand(3, dtype=torch.float64, generator=draw) + 0.1
    written_out = [
        math.log(variance[c]) + float(features[n, c, h, w] - frozen[n, c, h, w]) ** 2 / float(variance[c])
        for n in range(2)
        for c in range(3)
        for h in range(2)
        for w in range(2)
    ]
    assert float(gaussian_bound(features, frozen, variance)) == pytest.approx(sum(written_out) / 24, rel=1e-12)
    assert torch.autograd.gradcheck(gaussian_bound, (features.requires_grad_(), frozen, variance.requires_grad_()))


def test_each_chosen_stage_has_a_term_on_the_view_that_is_trained_on() -> None:
    it = rival("miro", method__stages="2+4", method__weight=0.3)
    start = copy.deepcopy(it.model.encoder)
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.05)
    images = doubles()
    terms = it.method.compute_terms(images, it.model(images.query), it.model)
    assert [(term.name, term.weight, term.rows) for term in terms] == [("miro_stage2", 0.3, 8), ("miro_stage4", 0.3, 8)]
    with torch.no_grad():
        mine, theirs = it.model.encoder(images.query), start(images.query)
    for term, stage in zip(terms, (2, 4), strict=True):
        squared = (mine[stage - 1] - theirs[stage - 1]) ** 2
        expected = (squared / 0.1).mean() + math.log(0.1)
        torch.testing.assert_close(term.value.detach(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("weight", [0.1, 0.3])
def test_at_the_start_the_bound_is_that_of_equal_maps_and_variances_fall_at_a_rate_of_their_own(weight: float) -> None:
    """By hand: with equal maps a channel's bound is log v, v = softplus(b) + 1e-5, however many channels there are."""
    it = rival("miro", method__weight=weight, method__variance_lr_factor=4.0, optim__lr=0.01, optim__weight_decay=0.1)
    method = it.method
    assert isinstance(method, Miro)
    b = math.log(math.expm1(0.1 - 1e-5))
    _, scalars = it.step(doubles(), 0.5)
    assert all(scalars[f"loss_miro_stage{stage}"] == pytest.approx(math.log(0.1), rel=1e-9) for stage in (1, 2, 3, 4))
    moved = b - 0.01 * 0.5 * 4.0 * weight * (1 / 0.1) / (1 + math.exp(-b))  # and no weight decay
    for stage in (1, 2, 3, 4):
        spread = method.spreads[f"stage{stage}"].detach()
        torch.testing.assert_close(spread, torch.full_like(spread, moved), rtol=1e-9, atol=0)
        assert (method.compute_variance(stage) < 0.1).all(), "what the two agree on is told ever more surely"


def test_a_channel_that_leaves_is_let_go_and_the_encoder_is_given_the_bounds_gradient() -> None:
    """Only variances have another gradient than the mean's."""
    it = rival("miro", method__stages="4")
    method = it.method
    assert isinstance(method, Miro)
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.5)
    images = doubles()
    output = it.model(images.query)
    (term,) = method.compute_terms(images, output, it.model)
    maps, frozen = output.maps[3], method.frozen["teacher"](images.query, 4)[3]
    of_maps, of_spread = torch.autograd.grad(term.value, (maps, method.spreads["stage4"]))
    torch.testing.assert_close(of_maps, (2 * (maps - frozen) / 0.1 / maps.numel()).detach(), rtol=1e-9, atol=1e-15)
    squares = ((maps - frozen) ** 2).mean(dim=(0, 2, 3)).detach()
    slope = torch.sigmoid(method.spreads["stage4"].detach())
    torch.testing.assert_close(of_spread, (1 / 0.1 - squares / 0.1**2) * slope, rtol=1e-9, atol=1e-12)
    assert (of_spread[squares > 0.1] < 0).all() and (squares > 0.1).any(), "its variance grows"


def test_a_teacher_of_another_width_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"model\.teacher_name: miro compares maps of one width; stage 1 has 8 channels"
    ):
        learner(method__name="miro", model__teacher_name="resnet18", model__teacher_weights="none")
