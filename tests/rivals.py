"""What tests of the rivals share: a learner in double precision, a batch for it, and weights that have moved."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from csg.methods.method import Batch, Term
from csg.models.model import Output
from csg.training.step import Learner, choose_precision
from tests.csg.methods.test_methods import batch, learner


def doubles(seed: int = 0) -> Batch:
    single = batch(seed, one_view=True)
    images = single.query.double()
    return dataclasses.replace(single, query=images, key=images)


def rival(name: str, **more: object) -> Learner:
    return learner(method__name=name, train__precision="float64", **more)


def term_in_bfloat16(name: str, **more: object) -> tuple[Learner, Batch, Output, Term]:
    """Return a learner whose encoder moved by 5 %, a batch, and what model and method make of it under autocast."""
    it = learner(method__name=name, train__precision="bfloat16", **more)
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.05)
    images = batch(one_view=True)
    with choose_precision(it.config):
        output = it.model(images.query)
        (term,) = it.method.compute_terms(images, output, it.model)
    return it, images, output, term


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
