"""The weight l2 distance: its optimum in closed form, and which weights it counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from csg.losses.squared_distance import weight_distance
from csg.methods.weight_l2 import WeightL2
from csg.models import make_encoder
from tests.rivals import doubles, rival, shaken


class Quadratic(nn.Module):
    """The task loss (theta - 3)^2 / 2 of two weights that start at 1 and 2."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

    def task(self) -> Tensor:
        return ((self.theta - 3) ** 2).sum() / 2


def test_weight_l2_on_a_quadratic_ends_where_algebra_says() -> None:
    """min (t - 3)^2 / 2 + w (t - a)^2 is at (3 + 2 w a) / (1 + 2 w)."""
    model = Quadratic()
    anchor, weight = model.theta.detach().clone(), 0.7
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(400):
        optimiser.zero_grad()
        (model.task() + weight * weight_distance([(model.theta, anchor, None)])).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    torch.testing.assert_close(model.theta.detach(), (3 + 2 * weight * anchor) / (1 + 2 * weight))


def test_weight_l2_counts_the_encoders_weights_and_nothing_else() -> None:
    it = rival("weight_l2", method__weight=0.7)
    assert isinstance(it.method, WeightL2)
    moves = shaken(it)
    assert len(moves) == 12 * (1 + 2), "of each convolution its weight, of its norm scale and shift"
    images = doubles()
    (term,) = it.method.compute_terms(images, it.model(images.query), it.model)
    assert (term.name, term.weight, term.rows) == ("weight_l2", 0.7, None)
    expected = sum(float(move.square().sum()) for move in moves.values())
    assert term.value.item() == pytest.approx(expected, rel=1e-9)


def test_weight_l2_pulls_to_the_teachers_weights(tmp_path: Path) -> None:
    teacher = make_encoder("tiny")
    torch.save(teacher.state_dict(), tmp_path / "teacher.pth")
    it = rival("weight_l2", model__teacher_weights=str(tmp_path / "teacher.pth"))
    theirs = dict(teacher.named_parameters())
    expected = sum(
        float((mine - theirs[name]).detach().square().sum())
        for name, mine in it.model.encoder.named_parameters()
        if not name.startswith("fc.")
    )
    images = doubles()
    (term,) = it.method.compute_terms(images, it.model(images.query), it.model)
    assert expected > 1 and term.value.item() == pytest.approx(expected, rel=1e-9)
