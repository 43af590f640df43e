"""ASG: its distillation against torch's divergence, its controller against autograd and a made-up world."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from csg.losses.distillation import distillation
from csg.messages.errors import UserError
from csg.methods import rate_controller
from csg.methods.asg import Asg
from csg.methods.rate_controller import FACTORS, RateController, log_probabilities, policy_gradient
from csg.training.step import choose_precision
from tests.csg.models.test_models import classifier
from tests.rivals import doubles, rival, term_in_bfloat16


def test_distillation_is_torchs_kl_divergence() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, dtype=torch.float64, generator=draw)
    expected = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    torch.testing.assert_close(distillation(student, teacher), expected, rtol=1e-12, atol=0)


def test_distillation_under_autocast_is_computed_in_the_weights_precision() -> None:
    it, images, output, term = term_in_bfloat16("asg", method__controller=False)
    with choose_precision(it.config):
        theirs = it.method.frozen["teacher"](images.query)[3].mean(dim=(2, 3))
    old_head = copy.deepcopy(classifier(it.method.frozen["teacher"].encoder)).double()
    student, taught = old_head(output.features.double()), old_head(theirs.double())
    expected = F.kl_div(student.log_softmax(1), taught.softmax(1), reduction="batchmean").item()
    assert output.features.dtype == torch.bfloat16 and term.value.dtype == torch.float32
    assert expected > 1e-3 and term.value.item() == pytest.approx(expected, rel=1e-2)


def test_asg_distils_under_the_teachers_old_head() -> None:
    it = rival("asg", method__controller=False)
    start = copy.deepcopy(it.model.encoder)
    with torch.no_grad():
        for parameter in it.model.encoder.list_groups()["stage4"][0].parameters():
            parameter.mul_(1.2)
    images = doubles()
    output = it.model(images.query)
    (term,) = it.method.compute_terms(images, output, it.model)
    with torch.no_grad():
        student = classifier(start)(it.model.encoder(images.query)[3].mean(dim=(2, 3)))
        teacher = classifier(start)(start(images.query)[3].mean(dim=(2, 3)))
    expected = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    torch.testing.assert_close(term.value.detach(), expected, rtol=1e-9, atol=0)
    term.value.backward()  # type: ignore[no-untyped-call]
    assert classifier(it.model.encoder).weight.grad is None


def test_each_half_of_asg_works_alone() -> None:
    guidance, controller = rival("asg", method__controller=False), rival("asg", method__distillation_weight=0.0)
    assert [term.name for term in guidance.step(doubles(), 1.0)[0].terms] == ["distillation"]
    assert guidance.method.get_lr_factors() == {}
    assert controller.step(doubles(), 1.0)[0].terms == []
    assert set(controller.method.get_lr_factors()) == {"stem", "stage1", "stage2", "stage3", "stage4", "head"}
    with pytest.raises(UserError, match="with neither half this is source_only"):
        rival("asg", method__controller=False, method__distillation_weight=0.0)


def test_the_policy_gradient_is_autograds() -> None:
    draw = torch.Generator().manual_seed(0)
    policy = torch.randn(3, len(FACTORS), 5, dtype=torch.float64, generator=draw, requires_grad=True)
    state, actions = torch.randn(5, dtype=torch.float64, generator=draw), torch.tensor([0, 3, 1])
    log_probabilities(policy, state)[torch.arange(3), actions].sum().backward()  # type: ignore[no-untyped-call]
    assert policy.grad is not None
    torch.testing.assert_close(policy_gradient(policy.detach(), state, actions), policy.grad, rtol=1e-12, atol=1e-15)


def test_the_controller_learns_which_factor_lowers_the_loss() -> None:
    """A world in which the loss falls by the logarithm of the one group's factor: the largest must win."""
    controller = RateController(("only",), interval=1, lr=1.0, seed=0)
    loss = 0.0
    for _ in range(300):
        loss -= 0.1 * torch.tensor(controller.get_factors()["only"]).log10().item()
        controller.observe(max(loss + 100, 0), 0.0)
    last = log_probabilities(controller.policy, controller._make_tensor(controller.state)).exp()[0]
    assert last.argmax() == len(FACTORS) - 1 and last.max() > 0.8


def test_state_reward_baseline_and_update_are_the_equations_written_out() -> None:
    """Three intervals of two steps: losses fall, and guidance rises by less."""
    controller = RateController(("a", "b"), interval=2, lr=0.7, seed=0)
    losses = [(2.0, 0.2), (1.6, 0.4), (1.2, 0.5), (1.0, 0.5), (0.9, 0.9), (0.7, 0.7)]
    means = [(1.8, 0.3), (1.1, 0.5), (0.8, 0.8)]
    baseline, policy, chosen = 0.0, torch.zeros(2, len(FACTORS), 5, dtype=torch.float64), None
    state: list[float] = []
    for interval, (task, guidance) in enumerate(means):
        before = means[max(interval - 1, 0)]
        for each in losses[2 * interval : 2 * interval + 2]:
            controller.observe(*each)
        if chosen is not None:
            reward = sum(before) - (task + guidance)
            for group, action in enumerate(chosen):
                p = (policy[group] @ torch.tensor(state, dtype=torch.float64)).softmax(0)
                for other in range(len(FACTORS)):
                    step = 0.7 * (reward - baseline) * (float(other == action) - float(p[other]))
                    policy[group, other] += step * torch.tensor(state, dtype=torch.float64)
            baseline = 0.9 * baseline + 0.1 * reward
        logs = [math.log(1 + value) for value in (task, before[0], guidance, before[1])]
        state = [1.0, logs[0], logs[0] - logs[1], logs[2], logs[2] - logs[3]]
        assert controller.state == pytest.approx(state, rel=1e-12)
        assert controller.baseline == pytest.approx(baseline, rel=1e-12)
        torch.testing.assert_close(controller.policy, policy, rtol=1e-10, atol=1e-14)
        chosen = list(controller.chosen)
    assert baseline == pytest.approx(0.9 * 0.1 * 0.5), "0.5 was won, and then nothing"


def test_the_controller_is_shown_the_task_loss_and_the_weighted_guidance(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rival("asg", method__distillation_weight=0.37)
    seen: list[tuple[float, float]] = []
    monkeypatch.setattr(RateController, "observe", lambda self, *losses: seen.append(losses))
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.2)
    _, scalars = it.step(doubles(), 1.0)
    assert scalars["loss_distillation"] > 1e-6
    ((task, guidance),) = seen
    assert task == scalars["loss_task"] and guidance == pytest.approx(0.37 * scalars["loss_distillation"], rel=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 12), st.integers(1, 4))
def test_the_controller_goes_on_from_its_state_as_if_nothing_had_happened(at: int, interval: int) -> None:
    losses = [3 / (1 + step) for step in range(20)]
    undisturbed, interrupted = (RateController(("a", "b"), interval=interval, lr=1.0, seed=3) for _ in range(2))
    for loss in losses:
        undisturbed.observe(loss, loss / 2)
    for loss in losses[:at]:
        interrupted.observe(loss, loss / 2)
    resumed = RateController(("a", "b"), interval=interval, lr=1.0, seed=3)
    resumed.load_state_dict(interrupted.state_dict())
    for loss in losses[at:]:
        resumed.observe(loss, loss / 2)
    assert resumed.get_factors() == undisturbed.get_factors()
    assert torch.equal(resumed.policy, undisturbed.policy)


def test_the_controllers_choice_is_the_learning_rate_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rival("asg", optim__schedule="constant")
    assert isinstance(it.method, Asg)
    monkeypatch.setattr(rate_controller.RateController, "get_factors", lambda self: {"stage3": 0.3, "head": 3.0})
    it.step(doubles(), 1.0)
    rates = {group["name"]: group["lr"] for group in it.optimiser.param_groups}
    lr, backbone = it.config.optim.lr, it.config.optim.lr * it.config.optim.backbone_lr_factor
    assert rates["stage3"] == pytest.approx(0.3 * backbone) and rates["stage2"] == backbone
    assert rates["head"] == pytest.approx(3 * lr)
