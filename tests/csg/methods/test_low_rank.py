"""Low-rank domain-specific weights: the sum of shared and own weights, in training alone."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from csg.messages.errors import UserError
from csg.methods.low_rank import LowRank
from csg.methods.method import Batch
from csg.models.efficientnet_lite import SameConv2d
from csg.models.low_rank_branch import LowRankBranch, list_layers
from csg.parsing import build_config
from csg.tasks.measurement import Inference
from csg.training.step import Learner, make_learner
from tests.made_up_pair import TINY
from tests.rivals import doubles, rival


def low_rank(sources: int = 3, **more: object) -> tuple[Learner, LowRank]:
    flat = {name: value for name, value in TINY.items() if not name.startswith("method.")}
    settings = {name.replace("__", "."): value for name, value in more.items()}
    config = build_config({**flat, "method.name": "low_rank", "train.precision": "float64", **settings})
    it = make_learner(config, classes=3, sources=sources)
    assert isinstance(it.method, LowRank)
    return it, it.method


def of_sources(*sources: int, seed: int = 0) -> Batch:
    """Return a batch whose images come from these sources in turn."""
    places = torch.arange(8)
    return dataclasses.replace(doubles(seed), sources=torch.tensor(sources)[places % len(sources)], source_count=3)


def fill(branch: LowRankBranch) -> None:
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        branch.core.copy_(torch.randn(branch.core.shape, dtype=branch.core.dtype, generator=draw))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(4, 6, 3, padding=2, dilation=2),
        SameConv2d(4, 6, 3, 2, bias=False),
        nn.Linear(4, 6),
    ],
)
def test_each_image_sees_the_shared_weights_and_its_own_domains(layer: nn.Module) -> None:
    layer = copy.deepcopy(layer).double()
    branch = LowRankBranch(layer, sources=3, rank=2).double()
    fill(branch)
    images = torch.randn(5, 4, *((7, 7) if isinstance(layer, nn.Conv2d) else ()), dtype=torch.float64)
    sources = torch.tensor([2, 0, 1, 2, 2])
    layer.register_forward_hook(branch.add)
    shared = layer.weight
    assert isinstance(shared, Tensor)
    plain = layer(images)
    branch.sources = sources
    found = layer(images)
    for image, source in enumerate(sources.tolist()):
        own = copy.deepcopy(layer)
        own._forward_hooks.clear()
        slices = [branch.domains[source, j] * branch.core[j] for j in range(2)]
        difference = torch.einsum("oa,ab,b...->o...", branch.outwards, slices[0] + slices[1], branch.inwards)
        torch.testing.assert_close(branch.compute_difference(source), difference)
        own.weight = nn.Parameter(shared + difference)
        torch.testing.assert_close(found[image], own(images)[image])
        assert not torch.allclose(found[image], plain[image])
    assert torch.equal(layer(images), plain), "told once, it counts once"
    layer.eval()
    branch.sources = sources
    assert torch.equal(layer(images), plain), "evaluation is the shared part"


def test_all_layers_but_those_with_groups_and_the_old_head_have_a_part() -> None:
    it, method = low_rank()
    names = {name.replace("/", ".") for name in method.branches}
    assert names == set(list_layers(it.model)) - {"encoder.fc"}
    assert {"encoder.conv1", "encoder.layer4.0.downsample.0", "head.0", "head.2"} <= names
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1))
    assert list(list_layers(grouped)) == ["1"]


def test_it_starts_as_source_only_and_then_each_domain_goes_its_way() -> None:
    it, method = low_rank()
    _, first = it.step(of_sources(0, 2), 1.0)
    _, plain = rival("source_only").step(doubles(), 1.0)
    assert first["loss"] == pytest.approx(plain["loss"], rel=1e-12)
    it.step(of_sources(0, 2, seed=1), 1.0)
    for branch in method.branches.values():
        assert isinstance(branch, LowRankBranch) and branch.core.any()
        zero, two = branch.compute_difference(0), branch.compute_difference(2)
        assert not torch.allclose(zero, two)
    with torch.no_grad():
        images = of_sources(0, 1, 2, seed=2)
        shared = it.model(images.query).logits
        method.prepare(images)
        measured = Inference(it.model, it.config)(images.query).logits
        own = it.model(images.query).logits
    torch.testing.assert_close(measured, shared)
    assert not torch.allclose(own, shared)


def test_a_layers_domains_learn_at_the_rate_of_its_shared_weights() -> None:
    it, method = low_rank(optim__backbone_lr_factor=0.1)
    rates = {id(each): group["lr_factor"] for group in it.optimiser.param_groups for each in group["params"]}
    for name, branch in method.branches.items():
        assert {rates[id(each)] for each in branch.parameters()} == {0.1 if name.startswith("encoder") else 1.0}


def test_a_domains_part_begins_to_move_as_fast_as_the_shared_one_within_its_subspace() -> None:
    """With G the gradient of W, D_s first moves by -lr |u_s|^2 U_out U_out^T G U_in^T U_in, of columns of length 1."""
    torch.manual_seed(0)
    layer = nn.Linear(300, 200, bias=False).double()
    branch = LowRankBranch(layer, sources=3, rank=4).double()
    layer.register_forward_hook(branch.add)
    branch.sources = torch.tensor([1] * 8)
    layer(torch.randn(8, 300, dtype=torch.float64)).square().sum().backward()
    gradient = layer.weight.grad
    assert isinstance(gradient, Tensor)
    outwards, inwards, u = (each.detach().clone() for each in (branch.outwards, branch.inwards, branch.domains[1]))
    torch.optim.SGD(branch.parameters(), lr=1e-3).step()
    expected = -1e-3 * u.square().sum() * outwards @ outwards.T @ gradient @ inwards.T @ inwards
    torch.testing.assert_close(branch.compute_difference(1).detach(), expected, rtol=1e-9, atol=1e-12)
    for columns in (outwards, inwards.T):
        assert columns.norm(dim=0).tolist() == pytest.approx([1] * 4, rel=0.15)


def test_with_layer_decay_too_and_a_layer_that_is_frozen_has_no_part() -> None:
    it, method = low_rank(optim__layer_decay=0.5)
    rates = {id(each): group["lr_factor"] for group in it.optimiser.param_groups for each in group["params"]}
    for name, branch in method.branches.items():
        layer = it.model.get_submodule(name.replace("/", "."))
        assert {rates[id(each)] for each in branch.parameters()} == {rates[id(layer.weight)]}
    frozen = rival("source_only").model
    frozen.encoder.conv1.weight.requires_grad = False  # type: ignore[union-attr]
    other = LowRank(method.config, frozen, teacher=frozen.encoder, seed=0)
    other.take_sources(2)
    assert "encoder/conv1" not in other.branches and len(other.branches) == len(method.branches) - 1


def test_one_source_is_refused() -> None:
    with pytest.raises(UserError, match=r"method\.name: low_rank expected synthetic images of several sources"):
        low_rank(sources=1)
