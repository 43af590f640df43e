"""Methods: what is added to the loss, what is frozen, what is remembered."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from csg.losses.attentional_pooling import attention, attentional_pool
from csg.methods.csg import Csg
from csg.methods.method import Batch
from csg.methods.queue import KeyQueue
from csg.parsing import build_config
from csg.training.step import Learner, NonFiniteLossError, make_learner
from tests.made_up_pair import TINY


def learner(**settings: object) -> Learner:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    base = {k: v for k, v in TINY.items() if not (k.startswith("method.") and "method.name" in named)}
    return make_learner(build_config({**base, **named}), classes=3)


def batch_of(query: torch.Tensor, key: torch.Tensor, labels: torch.Tensor) -> Batch:
    """Return a batch of the first images of the first epoch."""
    places = torch.arange(len(query))
    return Batch(query, key, labels, indices=places, epoch=0, sources=torch.zeros_like(places), source_count=1)


def batch(seed: int = 0, *, one_view: bool = False) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, 8, 3, 32, 32, generator=draw)
    return batch_of(query, query if one_view else key, torch.arange(8) % 3)


@given(st.integers(1, 12), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_the_queue_is_a_ring_of_the_newest_keys(size: int, batches: list[int]) -> None:
    queue = KeyQueue(size, 1, seed=0, purpose="test")
    slots = queue.keys.flatten().tolist()
    pointer, next_key = 0, 100.0
    for count in batches:
        keys = [next_key + i for i in range(count)]
        next_key += count
        for key in keys:
            slots[pointer] = key
            pointer = (pointer + 1) % size
        queue.write(torch.tensor(keys).reshape(-1, 1))
        assert queue.keys.flatten().tolist() == slots
        assert queue.pointer == pointer


def test_the_queue_starts_as_unit_vectors_of_its_seed() -> None:
    queue, same, other = (KeyQueue(9, 4, seed=seed, purpose="test") for seed in (0, 0, 1))
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(9))
    assert torch.equal(queue.keys, same.keys) and not torch.equal(queue.keys, other.keys)


def test_keys_are_pooled_with_the_query_encoders_attention() -> None:
    it = learner(train__precision="float64")
    method = it.method
    assert isinstance(method, Csg)
    for name, parameter in it.model.encoder.named_parameters():
        if name.startswith("layer4"):
            with torch.no_grad():
                parameter.mul_(1.3)
    pair = batch()
    pair = batch_of(pair.query.double(), pair.key.double(), pair.labels)
    terms = method.compute_terms(pair, it.model(pair.query), it.model)
    start = make_learner(it.config, classes=3).model.encoder
    with torch.no_grad():
        attended, frozen = it.model.encoder(pair.key)[3], start(pair.key)[3]
        key = F.normalize(method.key_projections["stage4"](attentional_pool(frozen, attention(attended))), dim=1)
        map4 = it.model.encoder(pair.query)[3]
        query = F.normalize(method.projections["stage4"](attentional_pool(map4, attention(map4))), dim=1)
    assert terms[1].logits is not None
    torch.testing.assert_close(terms[1].logits[:, 0], (query * key).sum(dim=1) / 0.07, rtol=1e-9, atol=1e-9)


def test_one_view_gives_what_two_equal_views_give_without_a_third_pass() -> None:
    it = learner(train__precision="float64")
    images = batch().query.double()
    labels = batch().labels
    _, one = copy.deepcopy(it).step(batch_of(images, images, labels), 1.0)
    _, two = copy.deepcopy(it).step(batch_of(images, images.clone(), labels), 1.0)
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-10)
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    method = it.method
    assert isinstance(method, Csg)
    for frozen in method.frozen.values():
        frozen.register_forward_hook(count)
    it.step(batch_of(images, images, labels), 1.0)
    assert passes == 1


def test_the_key_encoder_never_moves_and_the_key_heads_follow_slowly() -> None:
    it = learner()
    method = it.method
    assert isinstance(method, Csg)
    frozen = copy.deepcopy(method.frozen["key"].state_dict())
    heads = copy.deepcopy(method.key_projections.state_dict())
    queries = copy.deepcopy(method.projections.state_dict())
    it.step(batch(), 1.0)
    moved = copy.deepcopy(method.projections.state_dict())
    it.step(batch(1), 1.0)
    assert all(torch.equal(value, frozen[name]) for name, value in method.frozen["key"].state_dict().items())
    for name, value in method.key_projections.state_dict().items():
        torch.testing.assert_close(value, 0.999 * heads[name] + 0.001 * moved[name])
    assert any(not torch.equal(moved[name], queries[name]) for name in moved)


def test_unchosen_deeper_stages_are_not_computed_for_keys() -> None:
    it = learner(method__stages="2")
    method = it.method
    assert isinstance(method, Csg)
    assert method.depth == 2
    result, _ = it.step(batch(), 1.0)
    assert [term.name for term in result.terms] == ["csg_stage2"]


def test_source_only_is_cross_entropy_on_one_view() -> None:
    it = learner(method__name="source_only")
    result, scalars = it.step(batch(one_view=True), 1.0)
    assert result.terms == [] and not it.method.two_views
    assert scalars["loss"] == scalars["loss_task"]


def test_oracle_on_imagenet_trains_the_head_alone() -> None:
    it = learner(method__name="oracle_imagenet", model__frozen_statistics=False)
    before = copy.deepcopy(it.model.state_dict())
    it.model.train()
    it.step(batch(one_view=True), 1.0)
    changed = {name for name, value in it.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"head.{name}" for name in ("0.weight", "0.bias", "2.weight", "2.bias")}


def test_initial_heads_depend_on_the_seed_and_their_purpose_alone() -> None:
    csg, plain, other = learner(), learner(method__name="source_only"), learner(train__seed=1)
    first, same, another = (each.model.head.state_dict()["0.weight"] for each in (csg, plain, other))
    assert torch.equal(first, same)
    assert not torch.equal(first, another)


def test_a_loss_that_is_not_finite_names_step_and_term_and_moves_nothing() -> None:
    it = learner()
    it.step(batch(), 1.0)
    before = copy.deepcopy(it.model.state_dict())
    broken = batch(1)
    broken.key[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteLossError, match="loss_csg_stage3 is nan at step 1"):
        it.step(broken, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in it.model.state_dict().items())
