"""Synaptic intelligence: its importances in closed form, and what becomes of them."""

from __future__ import annotations

import pytest
import torch

from csg.losses.squared_distance import weight_distance
from csg.methods.synaptic_intelligence import SynapticIntelligence
from tests.rivals import doubles, rival, shaken


def test_synaptic_intelligence_weighs_each_move_with_its_own_importance() -> None:
    it = rival("synaptic_intelligence", method__weight=3.0)
    moves = shaken(it)
    draw = torch.Generator().manual_seed(6)
    expected = 0.0
    for name, move in moves.items():
        importance = torch.rand(move.shape, dtype=move.dtype, generator=draw)
        it.method.get_buffer(f"importance/{name.replace('.', '/')}").copy_(importance)
        expected += float((importance * move.square()).sum())
    importances = [name for name, _ in it.method.named_buffers() if name.startswith("importance/")]
    assert len(importances) == len(moves)
    images = doubles()
    (term,) = it.method.compute_terms(images, it.model(images.query), it.model)
    assert (term.name, term.weight, term.rows) == ("synaptic_intelligence", 3.0, None)
    assert term.value.item() == pytest.approx(expected, rel=1e-9)


def test_synaptic_importance_on_a_quadratic_has_a_closed_form() -> None:
    """Gradient descent on (t - 3)^2 / 2 credits sum_n lr g_n^2, with g_n = (1 - lr)^n (t_0 - 3)."""
    it = rival("synaptic_intelligence", method__damping=1e-2, method__weight=0.5)
    method, lr, steps = it.method, 0.1, 7
    assert isinstance(method, SynapticIntelligence)
    name = next(iter(method._anchor._anchors))
    start = method._anchor._anchors[name].clone()
    weight = dict(it.model.encoder.named_parameters())[name]
    for _ in range(steps):
        it.model.zero_grad()
        pairs = method._anchor.pair_with(it.model.encoder)
        penalty = weight_distance((mine, theirs, method._get_importance(key)) for key, (mine, theirs) in pairs.items())
        (((weight - 3) ** 2).sum() / 2 + 0.5 * penalty).backward()  # type: ignore[no-untyped-call]
        method.after_backward(it.model)
        with torch.no_grad():
            weight.sub_(lr * (weight - 3))  # the task's gradient alone moves it, so that the form stays closed
        method.after_step(it.model, {})
        method.after_epoch(it.model)  # importances grow meanwhile: the penalty must stay out of the credit
    shrink = (1 - lr) ** (2 * torch.arange(steps, dtype=torch.float64))
    credit = lr * (start - 3).square() * shrink.sum()
    moved = (start - 3) * ((1 - lr) ** steps - 1)
    torch.testing.assert_close(method._get_credit(name), credit, rtol=1e-9, atol=0)
    torch.testing.assert_close(method._get_importance(name), credit / (moved.square() + 1e-2), rtol=1e-9, atol=0)


def test_credit_that_is_negative_gives_no_importance() -> None:
    it = rival("synaptic_intelligence")
    method = it.method
    assert isinstance(method, SynapticIntelligence)
    for buffer in method.buffers():
        buffer.fill_(-1)
    method.after_epoch(it.model)
    assert all((method._get_importance(name) == 0).all() for name in method._anchor._anchors)


def test_synaptic_state_survives_a_checkpoint() -> None:
    it = rival("synaptic_intelligence")
    it.step(doubles(), 1.0)
    it.method.after_epoch(it.model)
    other = rival("synaptic_intelligence")
    other.model.load_state_dict(it.model.state_dict())
    other.method.load_state_dict(it.method.state_dict())
    other.optimiser.load_state_dict(it.optimiser.state_dict())
    mine, theirs = (one.step(doubles(1), 1.0)[1] for one in (it, other))
    assert mine == theirs and mine["loss_synaptic_intelligence"] > 0
