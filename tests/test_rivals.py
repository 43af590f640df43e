"""CSG's rivals: each one's formula, against a closed form, a hand-written one or autograd."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from csg.losses.attentional_pooling import attention, attentional_pool
from csg.losses.distillation import distillation
from csg.losses.squared_distance import feature_distance, weight_distance
from csg.methods import METHODS, rate_controller
from csg.methods.asg import Asg
from csg.methods.csg import Csg
from csg.methods.method import Batch
from csg.methods.rate_controller import FACTORS, RateController, log_probabilities, policy_gradient
from csg.methods.synaptic_intelligence import SynapticIntelligence
from csg.methods.weight_l2 import WeightL2
from csg.models import encoder_named
from csg.models.efficientnet_lite import InvertedResidual
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.instance_batch_norm import InstanceBatchNorm2d, with_instance_batch_norm
from csg.settings import ConfigError
from csg.training.step import Learner
from tests.test_methods import batch, learner

RIVALS = ("weight_l2", "synaptic_intelligence", "feature_l2", "asg")


def doubles(seed: int = 0) -> Batch:
    single = batch(seed, one_view=True)
    images = single.query.double()
    return dataclasses.replace(single, query=images, key=images)


def rival(name: str, **more: object) -> Learner:
    return learner(method__name=name, train__precision="float64", **more)


@pytest.mark.parametrize("name", RIVALS)
def test_a_penalty_is_zero_at_the_start(name: str) -> None:
    it = rival(name)
    _, scalars = it.step(doubles(), 1.0)
    (term,) = (value for key, value in scalars.items() if key.startswith("loss_") and key != "loss_task")
    assert abs(term) < 1e-12
    assert scalars["loss"] == pytest.approx(scalars["loss_task"], abs=1e-12)


@pytest.mark.parametrize("name", RIVALS)
def test_a_penalty_counts_once_the_model_has_moved(name: str) -> None:
    it = rival(name)
    for seed in range(2):
        it.step(doubles(seed), 1.0)
    it.method.after_epoch(it.model)
    _, scalars = it.step(doubles(2), 1.0)
    (term,) = (value for key, value in scalars.items() if key.startswith("loss_") and key != "loss_task")
    assert term > 1e-12


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


def shaken(it: Learner) -> dict[str, Tensor]:
    """Move everything that a learner trains or keeps; return by how much the encoder's trainable weights moved."""
    draw = torch.Generator().manual_seed(5)
    moves = {}
    with torch.no_grad():
        for name, tensor in [*it.model.named_parameters(), *it.model.named_buffers(), *it.method.named_parameters()]:
            if tensor.is_floating_point():
                move = torch.randn(tensor.shape, dtype=tensor.dtype, generator=draw)
                tensor.add_(move)
                moves[name] = move
    return {
        name.removeprefix("encoder."): moves[name]
        for name, _ in it.model.named_parameters()
        if name.startswith("encoder.") and not name.startswith("encoder.fc.")
    }


def test_weight_l2_counts_the_encoders_weights_and_nothing_else() -> None:
    it = rival("weight_l2", method__weight=0.7)
    assert isinstance(it.method, WeightL2)
    moves = shaken(it)
    assert len(moves) == 12 * (1 + 2), "of each convolution its weight, of its norm scale and shift"
    images = doubles()
    (term,) = it.method.terms(images, it.model(images.query), it.model)
    assert (term.name, term.weight, term.rows) == ("weight_l2", 0.7, None)
    expected = sum(float(move.square().sum()) for move in moves.values())
    assert term.value.item() == pytest.approx(expected, rel=1e-9)


def test_weight_l2_pulls_to_the_teachers_weights(tmp_path: Path) -> None:
    teacher = encoder_named("tiny")
    torch.save(teacher.state_dict(), tmp_path / "teacher.pth")
    it = rival("weight_l2", model__teacher_weights=str(tmp_path / "teacher.pth"))
    theirs = dict(teacher.named_parameters())
    expected = sum(
        float((mine - theirs[name]).detach().square().sum())
        for name, mine in it.model.encoder.named_parameters()
        if not name.startswith("fc.")
    )
    images = doubles()
    (term,) = it.method.terms(images, it.model(images.query), it.model)
    assert expected > 1 and term.value.item() == pytest.approx(expected, rel=1e-9)


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
    (term,) = it.method.terms(images, it.model(images.query), it.model)
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
        pairs = method._anchor.beside(it.model.encoder)
        penalty = weight_distance((mine, theirs, method._importance(key)) for key, (mine, theirs) in pairs.items())
        (((weight - 3) ** 2).sum() / 2 + 0.5 * penalty).backward()  # type: ignore[no-untyped-call]
        method.after_backward(it.model)
        with torch.no_grad():
            weight.sub_(lr * (weight - 3))  # the task's gradient alone moves it, so that the form stays closed
        method.after_step(it.model, {})
        method.after_epoch(it.model)  # importances grow meanwhile: the penalty must stay out of the credit
    shrink = (1 - lr) ** (2 * torch.arange(steps, dtype=torch.float64))
    credit = lr * (start - 3).square() * shrink.sum()
    moved = (start - 3) * ((1 - lr) ** steps - 1)
    torch.testing.assert_close(method._credit(name), credit, rtol=1e-9, atol=0)
    torch.testing.assert_close(method._importance(name), credit / (moved.square() + 1e-2), rtol=1e-9, atol=0)


def test_credit_that_is_negative_gives_no_importance() -> None:
    it = rival("synaptic_intelligence")
    method = it.method
    assert isinstance(method, SynapticIntelligence)
    for buffer in method.buffers():
        buffer.fill_(-1)
    method.after_epoch(it.model)
    assert all((method._importance(name) == 0).all() for name in method._anchor._anchors)


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


@pytest.mark.parametrize("pooling", ["average", "apool"])
def test_feature_l2_is_the_squared_distance_of_pooled_maps(pooling: str) -> None:
    it = rival("feature_l2", method__pooling=pooling)
    start = copy.deepcopy(it.model.encoder)
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.05)
    images = doubles()
    output = it.model(images.query)
    (term,) = it.method.terms(images, output, it.model)
    with torch.no_grad():
        mine, theirs = output.maps[3], start(images.query)[3]
        if pooling == "apool":
            weights = attention(mine)
            difference = attentional_pool(mine, weights) - attentional_pool(theirs, weights)
        else:
            difference = (mine - theirs).mean(dim=(2, 3))
    torch.testing.assert_close(term.value.detach(), (difference**2).sum() / len(difference), rtol=1e-9, atol=0)


@pytest.mark.parametrize("pooling", ["average", "apool"])
def test_feature_l2_under_autocast_is_computed_in_the_weights_precision(pooling: str) -> None:
    it = learner(method__name="feature_l2", method__pooling=pooling, train__precision="bfloat16")
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.05)
    images = batch(one_view=True)
    with it._precision():
        output = it.model(images.query)
        (term,) = it.method.terms(images, output, it.model)
        theirs = it.method.frozen["teacher"](images.query, 4)[3]
    assert output.maps[3].dtype == theirs.dtype == torch.bfloat16 and term.value.dtype == torch.float32
    mine, theirs = output.maps[3].double(), theirs.double()
    if pooling == "apool":
        weights = attention(mine)
        difference = attentional_pool(mine, weights) - attentional_pool(theirs, weights)
    else:
        difference = (mine - theirs).mean(dim=(2, 3))
    expected = (difference.detach() ** 2).sum().item() / len(difference)
    assert expected > 0 and term.value.item() == pytest.approx(expected, rel=1e-3)
    _, scalars = it.step(images, 1.0)
    assert math.isfinite(scalars["loss_feature_l2"]) and scalars["loss_feature_l2"] > 0


def test_distillation_is_torchs_kl_divergence() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, dtype=torch.float64, generator=draw)
    expected = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    torch.testing.assert_close(distillation(student, teacher), expected, rtol=1e-12, atol=0)


def test_the_losses_have_the_gradients_of_their_formulas() -> None:
    draw = torch.Generator().manual_seed(0)
    one, two, three = (torch.randn(4, 5, dtype=torch.float64, generator=draw, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(distillation, (one, two))
    assert torch.autograd.gradcheck(feature_distance, (one, two))
    assert torch.autograd.gradcheck(lambda a, b, c: weight_distance([(a, b, c), (b, a, None)]), (one, two, three))


def test_distillation_under_autocast_is_computed_in_the_weights_precision() -> None:
    it = learner(method__name="asg", method__controller=False, train__precision="bfloat16")
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.05)
    images = batch(one_view=True)
    with it._precision():
        output = it.model(images.query)
        (term,) = it.method.terms(images, output, it.model)
        theirs = it.method.frozen["teacher"](images.query)[3].mean(dim=(2, 3))
    old_head = copy.deepcopy(it.method.frozen["teacher"].encoder.old_head()).double()
    student, taught = old_head(output.features.double()), old_head(theirs.double())
    expected = F.kl_div(student.log_softmax(1), taught.softmax(1), reduction="batchmean").item()
    assert output.features.dtype == torch.bfloat16 and term.value.dtype == torch.float32
    assert expected > 1e-3 and term.value.item() == pytest.approx(expected, rel=1e-2)


def test_asg_distils_under_the_teachers_old_head() -> None:
    it = rival("asg", method__controller=False)
    start = copy.deepcopy(it.model.encoder)
    with torch.no_grad():
        for parameter in it.model.encoder.groups()["stage4"][0].parameters():
            parameter.mul_(1.2)
    images = doubles()
    output = it.model(images.query)
    (term,) = it.method.terms(images, output, it.model)
    with torch.no_grad():
        student = start.old_head()(it.model.encoder(images.query)[3].mean(dim=(2, 3)))
        teacher = start.old_head()(start(images.query)[3].mean(dim=(2, 3)))
    expected = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    torch.testing.assert_close(term.value.detach(), expected, rtol=1e-9, atol=0)
    term.value.backward()  # type: ignore[no-untyped-call]
    assert it.model.encoder.old_head().weight.grad is None


def test_each_half_of_asg_works_alone() -> None:
    guidance, controller = rival("asg", method__controller=False), rival("asg", method__distillation_weight=0.0)
    assert [term.name for term in guidance.step(doubles(), 1.0)[0].terms] == ["distillation"]
    assert guidance.method.lr_factors() == {}
    assert controller.step(doubles(), 1.0)[0].terms == []
    assert set(controller.method.lr_factors()) == {"stem", "stage1", "stage2", "stage3", "stage4", "head"}
    with pytest.raises(ConfigError, match="with neither half this is source_only"):
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
        loss -= 0.1 * torch.tensor(controller.factors()["only"]).log10().item()
        controller.observe(max(loss + 100, 0), 0.0)
    last = log_probabilities(controller.policy, controller._tensor(controller.state)).exp()[0]
    assert last.argmax() == len(FACTORS) - 1 and last.max() > 0.8


@settings(deadline=None, max_examples=20)
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
    assert resumed.factors() == undisturbed.factors()
    assert torch.equal(resumed.policy, undisturbed.policy)


def test_the_controllers_choice_is_the_learning_rate_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    it = rival("asg", optim__schedule="constant")
    assert isinstance(it.method, Asg)
    monkeypatch.setattr(rate_controller.RateController, "factors", lambda self: {"stage3": 0.3, "head": 3.0})
    it.step(doubles(), 1.0)
    rates = {group["name"]: group["lr"] for group in it.optimiser.param_groups}
    lr, backbone = it.config.optim.lr, it.config.optim.lr * it.config.optim.backbone_lr_factor
    assert rates["stage3"] == pytest.approx(0.3 * backbone) and rates["stage2"] == backbone
    assert rates["head"] == pytest.approx(3 * lr)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_instance_batch_norm_is_both_norms_written_out(training: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(7, eps=1e-4).double()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.uniform_(0.5, 1.5, generator=draw)
    x = torch.randn(2, 7, 4, 5, dtype=torch.float64, generator=draw)
    scale, shift = norm.weight.reshape(1, -1, 1, 1), norm.bias.reshape(1, -1, 1, 1)
    mean, var = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), unbiased=False, keepdim=True)
    instance = (x - mean) / (var + 1e-4).sqrt() * scale + shift
    assert norm.running_mean is not None and norm.running_var is not None
    batch_mean, batch_var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
    used_mean, used_var = (batch_mean, batch_var) if training else (norm.running_mean, norm.running_var)
    plain = (x - used_mean.reshape(1, -1, 1, 1)) / (used_var.reshape(1, -1, 1, 1) + 1e-4).sqrt() * scale + shift
    it = InstanceBatchNorm2d(norm).double().train(training)
    mixed = it(x)
    torch.testing.assert_close(mixed[:, :3], instance[:, :3], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(mixed[:, 3:], plain[:, 3:], rtol=1e-10, atol=1e-12)
    share = 0.1 if training else 0.0
    remembered = (1 - share) * norm.running_mean + share * batch_mean
    spread = (1 - share) * norm.running_var + share * batch_var * 40 / 39
    torch.testing.assert_close(it.batch.running_mean, remembered[3:], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(it.batch.running_var, spread[3:], rtol=1e-10, atol=1e-12)


def _instance_batch_norms(encoder: Encoder) -> set[str]:
    return {name for name, module in encoder.named_modules() if isinstance(module, InstanceBatchNorm2d)}


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", (2, 2, 2)), ("resnet50", (3, 4, 6))])
def test_ibn_a_sits_in_the_first_norm_of_each_block_of_stages_1_to_3(name: str, blocks: tuple[int, ...]) -> None:
    encoder = encoder_named(name)
    changed = with_instance_batch_norm(encoder)
    assert _instance_batch_norms(changed) == {
        f"layer{stage}.{block}.bn1" for stage, count in enumerate(blocks, start=1) for block in range(count)
    }
    assert _instance_batch_norms(encoder) == set()


def test_ibn_a_sits_behind_the_expansions_of_an_efficientnets_stages_1_to_3() -> None:
    encoder = encoder_named("efficientnet_lite0")
    changed = with_instance_batch_norm(encoder)
    names = {id(module): name for name, module in changed.named_modules()}
    expanding = {
        f"{names[id(block)]}._bn0"
        for stage in ("stage1", "stage2", "stage3")
        for module in changed.groups()[stage]
        for block in module.modules()
        if isinstance(block, InvertedResidual) and block.expands
    }
    assert _instance_batch_norms(changed) == expanding and len(expanding) > 3
    assert _instance_batch_norms(encoder) == set()


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_folding_leaves_instance_batch_norm_as_it_is_and_follows_training(name: str) -> None:
    encoder = with_instance_batch_norm(encoder_named(name)).double().eval()
    folded = FoldedEncoder(encoder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1.01).add_(1e-3)
        folded.refresh(encoder)
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for mine, theirs in zip(folded(images), encoder(images), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def frozen_key(it: Learner) -> nn.Module:
    assert isinstance(it.method, Csg)
    return it.method.frozen["key"]


def test_a_teacher_with_weights_of_its_own_is_the_key_encoder(tmp_path: Path) -> None:
    teacher = encoder_named("tiny")
    torch.save(teacher.state_dict(), tmp_path / "teacher.pth")
    it = learner(model__teacher_weights=str(tmp_path / "teacher.pth"))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = frozen_key(it)(images)
        for mine, theirs in zip(maps, teacher.eval()(images), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["csg", "feature_l2", "asg", "weight_l2", "synaptic_intelligence"])
def test_a_teacher_of_another_architecture_teaches_where_widths_need_not_agree(name: str) -> None:
    settings = {
        "method__name": name,
        "model__teacher_name": "resnet18",
        "model__teacher_weights": "none",
        "data__image_size": 64,
    }
    if name != "csg":
        with pytest.raises(ConfigError, match=r"model\.teacher_name: .*(width|architecture)"):
            learner(**settings)
        return
    it = learner(**settings, method__queue_size=21, method__projection_width=16)
    method = it.method
    assert isinstance(method, Csg)
    first = method.key_projections.get_submodule("stage4.0")
    assert isinstance(first, nn.Linear) and first.in_features == 512
    for seed in range(2):
        it.step(batch(seed), 1.0)


def test_a_teacher_sees_the_image_as_it_was_trained_to() -> None:
    """EfficientNet-Lite0 and ResNet normalise otherwise; the same picture must reach both."""
    student, other = encoder_named("efficientnet_lite0"), encoder_named("resnet18")
    from csg.models.teacher import Teacher

    pictures = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        seen = Teacher(other, student)(student.normalise(pictures))
        expected = FoldedEncoder(other)(other.normalise(pictures))
    for mine, theirs in zip(seen, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_another_teacher_architecture_needs_weights() -> None:
    with pytest.raises(ConfigError, match=r"model.teacher_weights: expected the weights of model.teacher_name"):
        learner(model__teacher_name="resnet18")


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_lowers_its_loss_on_glyphs(name: str, tmp_path: Path) -> None:
    from csg.data import load_pair
    from csg.parsing import config_from_flat
    from csg.training.loop import fit

    config = config_from_flat(
        {"method.name": name, "data.source_images": 160, "data.image_size": 32, "data.cache": str(tmp_path)}
        | {"train.epochs": 6, "train.batch_size": 16, "optim.warmup_steps": 2, "optim.lr": 0.015}
    )
    first, *_, last = (report.metrics for report in fit(config, load_pair(config.data)))
    # At half the usual rate both fall from epoch to epoch, to a fifth or so; under ASG's controller to four fifths.
    assert last["train/loss_task"] < 0.9 * first["train/loss_task"]
    assert last["train/loss"] < 0.9 * first["train/loss"], "the method's own term included"
