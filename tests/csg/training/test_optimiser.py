"""Optimiser and schedule are the published ones."""

from __future__ import annotations

import pytest
import torch

from csg.config import OptimConfig
from csg.parsing import build_config
from csg.training.optimiser import PublishedSGD, compute_lr_factor, find_lr_factor, set_lr
from tests.csg.methods.test_methods import learner


def test_the_learning_rate_enters_the_momentum_buffer() -> None:
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimiser = PublishedSGD(
        [{"name": "head", "params": [p], "lr_factor": 1.0}], lr=1.0, momentum=0.9, weight_decay=0.01
    )
    expected, velocity = p.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for step, lr in enumerate((0.1, 0.3, 0.05)):
        gradient = torch.tensor([0.5, 0.1 * step], dtype=torch.float64)
        velocity = 0.9 * velocity + lr * (gradient + 0.01 * expected)
        expected = expected - velocity
        p.grad = gradient
        set_lr(optimiser, lr, {})
        optimiser.step()
    torch.testing.assert_close(p.detach(), expected, rtol=1e-14, atol=0)


def test_at_a_constant_rate_it_is_torchs_sgd() -> None:
    mine, theirs = (torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    a = PublishedSGD([mine], lr=0.1, momentum=0.9, weight_decay=0.01)
    b = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=0.01)
    for step in range(4):
        mine.grad = theirs.grad = torch.full((3,), float(step), dtype=torch.float64)
        a.step()
        b.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("step", [0, 1, 50, 99, 100, 101, 500, 999])
def test_the_schedule_is_warm_up_times_poly(step: int) -> None:
    config = OptimConfig(warmup_steps=100)
    expected = min(0.01 + 0.99 * (step / 100) ** 2, 1) * (1 - step / 1000) ** 0.9
    assert compute_lr_factor(config, step, 1000) == pytest.approx(expected, rel=1e-12)


def test_layer_decay_slows_each_stage_more_than_the_next() -> None:
    it = learner(optim__layer_decay=0.5, optim__backbone_lr_factor=0.4)
    factors = {group["name"]: group["lr_factor"] for group in it.optimiser.param_groups}
    assert factors.pop("head") == factors.pop("method") == 1.0
    decayed = {"stem": 0.4 / 32, "stage1": 0.4 / 16, "stage2": 0.4 / 8, "stage3": 0.4 / 4, "stage4": 0.4 / 2}
    assert factors == pytest.approx(decayed)


def test_probing_has_a_schedule_of_its_own_without_a_warm_up() -> None:
    """3 epochs of 10 steps, the first of them probing, against the equation over either part."""
    optim = {"optim.warmup_steps": 5, "optim.poly_power": 2.0, "train.epochs": 3}
    probed, plain = (build_config({"method.name": name, **optim}) for name in ("lp_ft", "source_only"))
    factors = [find_lr_factor(probed, step, steps_per_epoch=10) for step in range(30)]
    assert factors[:10] == pytest.approx([(1 - t / 10) ** 2 for t in range(10)], rel=1e-12)
    warm_up = [min(0.01 + 0.99 * (t / 5) ** 2, 1) for t in range(20)]
    assert factors[10:] == pytest.approx([warm_up[t] * (1 - t / 20) ** 2 for t in range(20)], rel=1e-12)
    assert [find_lr_factor(plain, step, steps_per_epoch=10) for step in (0, 7, 29)] == [
        compute_lr_factor(plain.optim, step, 30) for step in (0, 7, 29)
    ]
    alone = build_config({"method.name": "lp_ft", "method.probe_epochs": 5, **optim})
    assert find_lr_factor(alone, 29, steps_per_epoch=10) == pytest.approx((1 / 30) ** 2), "no phase follows"


def test_a_constant_schedule_and_no_warm_up() -> None:
    assert compute_lr_factor(OptimConfig(schedule="constant"), 3, 10) == 1.0
    assert compute_lr_factor(OptimConfig(warmup_steps=0), 0, 10) == 1.0
