"""GCISG: both halves against their formulas written by hand, and the follower."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from csg.messages.errors import UserError
from csg.methods.gcisg import Gcisg
from csg.methods.method import Batch
from csg.methods.queue import KeyQueue
from csg.parsing import build_config
from csg.training.step import Learner
from tests.csg.methods.test_methods import batch, learner
from tests.rivals import rival

SMALL: dict[str, Any] = {"method__queue_size": 21, "method__projection_width": 16}


def two_views(seed: int = 0) -> Batch:
    single = batch(seed)
    return dataclasses.replace(single, query=single.query.double(), key=single.key.double())


def gcisg(**settings: Any) -> tuple[Learner, Gcisg]:
    it = rival("gcisg", **(SMALL | settings))
    assert isinstance(it.method, Gcisg)
    return it, it.method


def embed(maps: Tensor, head: torch.nn.Module) -> list[list[float]]:
    embedded: list[list[float]] = F.normalize(head(maps.mean(dim=(2, 3))), dim=1).tolist()
    return embedded


def softmax(similarities: list[float], temperature: float) -> list[float]:
    powers = [math.exp(similarity / temperature) for similarity in similarities]
    return [power / sum(powers) for power in powers]


def test_invariance_is_the_divergence_of_what_the_two_views_are_similar_to() -> None:
    it, method = gcisg(method__stages="4", method__temperature=0.3, method__target_temperature=0.1)
    it.step(two_views(1), 1.0)
    images = two_views()
    queue, follower = method.queues["stage4"], method.follower["encoder"]
    assert isinstance(queue, KeyQueue)
    with torch.no_grad():
        mine = embed(it.model.encoder(images.query)[3], method.projections["stage4"])
        theirs = embed(
            copy.deepcopy(follower).eval()(images.key)[3],
            method.follower["projections"].get_submodule("stage4"),
        )
    written_out = []
    for z, followed in zip(mine, theirs, strict=True):
        p, target = (
            softmax([sum(a * b for a, b in zip(each, key, strict=True)) for key in queue.keys.tolist()], temperature)
            for each, temperature in ((z, 0.3), (followed, 0.1))
        )
        written_out.append(sum(t * math.log(t / s) for t, s in zip(target, p, strict=True)))
    terms = {term.name: term for term in method.compute_terms(images, it.model(images.query), it.model)}
    assert float(terms["invariance_stage4"].value.detach()) == pytest.approx(sum(written_out) / 8, rel=1e-9)
    method.after_backward(it.model)
    newest = queue.keys[[(queue.pointer - 8 + place) % 21 for place in range(8)]]
    torch.testing.assert_close(newest, torch.tensor(theirs, dtype=torch.float64))


def test_guidance_is_the_squared_distance_of_directions_under_each_maps_own_attention() -> None:
    it, method = gcisg(method__stages="3")
    start = copy.deepcopy(it.model.encoder)
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.05)
        images = two_views()
        pooled = []
        for encoder in (it.model.encoder, start):
            maps = encoder(images.query)[2]
            attention = torch.einsum("nchw,nc->nhw", maps, maps.mean(dim=(2, 3)))
            attention = attention / attention.sum(dim=(1, 2), keepdim=True)
            vectors = torch.einsum("nchw,nhw->nc", maps, attention)
            pooled.append(vectors / vectors.norm(dim=1, keepdim=True))
        expected = sum(float(((a - b) ** 2).sum()) for a, b in zip(*pooled, strict=True)) / 8
    terms = {term.name: term for term in method.compute_terms(images, it.model(images.query), it.model)}
    assert expected > 0
    assert float(terms["guidance_stage3"].value.detach()) == pytest.approx(expected, rel=1e-9)


def test_guidance_is_zero_at_the_start_and_has_a_gradient() -> None:
    it, _ = gcisg(method__invariance_weight=0.0)
    _, scalars = it.step(two_views(), 1.0)
    assert abs(scalars["loss_guidance_stage3"]) < 1e-12 and abs(scalars["loss_guidance_stage4"]) < 1e-12
    assert all(parameter.isfinite().all() for parameter in it.model.parameters())


def test_the_follower_is_a_moving_average_of_encoder_and_heads() -> None:
    it, method = gcisg(method__follower_momentum=0.9, model__frozen_statistics=False)
    before = copy.deepcopy(method.follower.state_dict())
    for seed in range(2):
        it.step(two_views(seed), 1.0)
        now = {f"encoder.{name}": tensor for name, tensor in it.model.encoder.state_dict().items()}
        now |= {f"projections.{name}": tensor for name, tensor in method.projections.state_dict().items()}
        for name, tensor in method.follower.state_dict().items():
            is_statistic = "running" in name or "num_batches" in name
            expected = now[name] if is_statistic else 0.9 * before[name] + 0.1 * now[name]
            torch.testing.assert_close(tensor, expected, rtol=1e-10, atol=1e-12)
        before = copy.deepcopy(method.follower.state_dict())


def test_each_half_works_alone() -> None:
    for half, other in (("invariance", "guidance"), ("guidance", "invariance")):
        it, method = gcisg(**{f"method__{other}_weight": 0.0})
        assert method.two_views == (half == "invariance")
        result, _ = it.step(two_views(), 1.0)
        assert [term.name for term in result.terms] == [f"{half}_stage3", f"{half}_stage4"]


def test_the_halves_have_their_own_weights_at_every_stage() -> None:
    it, method = gcisg(method__stages="2+4", method__invariance_weight=0.3, method__guidance_weight=7.0)
    images = two_views()
    terms = method.compute_terms(images, it.model(images.query), it.model)
    assert [(term.name, term.weight) for term in terms] == [
        *(("invariance_stage2", 0.3), ("invariance_stage4", 0.3)),
        *(("guidance_stage2", 7.0), ("guidance_stage4", 7.0)),
    ]


def test_with_neither_half_it_is_refused() -> None:
    with pytest.raises(UserError, match=r"method\.invariance_weight: expected above 0, or"):
        build_config({"method.name": "gcisg", "method.invariance_weight": 0.0, "method.guidance_weight": 0.0})


def test_only_guidance_needs_a_teacher_of_the_encoders_widths() -> None:
    settings = {"method__name": "gcisg", "model__teacher_name": "resnet18", "model__teacher_weights": "none"}
    with pytest.raises(UserError, match=r"model\.teacher_name: gcisg's guidance compares maps of one width; stage 3"):
        learner(**settings, **SMALL)
    learner(**settings, **SMALL, method__guidance_weight=0.0).step(batch(), 1.0)
