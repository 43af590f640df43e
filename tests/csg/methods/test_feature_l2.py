"""The feature l2 distance, against its formula written by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from csg.losses.attentional_pooling import attention, attentional_pool
from csg.training.step import choose_precision
from tests.rivals import doubles, rival, term_in_bfloat16


@pytest.mark.parametrize("pooling", ["average", "apool"])
def test_feature_l2_is_the_squared_distance_of_pooled_maps(pooling: str) -> None:
    it = rival("feature_l2", method__pooling=pooling)
    start = copy.deepcopy(it.model.encoder)
    with torch.no_grad():
        for parameter in it.model.encoder.parameters():
            parameter.mul_(1.05)
    images = doubles()
    output = it.model(images.query)
    (term,) = it.method.compute_terms(images, output, it.model)
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
    it, images, output, term = term_in_bfloat16("feature_l2", method__pooling=pooling)
    with choose_precision(it.config):
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
