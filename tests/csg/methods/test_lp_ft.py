"""LP-FT: the head alone, then everything."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from csg.training.step import Learner
from tests.rivals import doubles, rival


def changed_by_a_step(it: Learner, epoch: int) -> set[str]:
    before = copy.deepcopy(it.model.state_dict())
    it.step(dataclasses.replace(doubles(epoch), epoch=epoch), 1.0)
    names = {name for name, value in it.model.state_dict().items() if not torch.equal(value, before[name])}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_the_head_trains_alone_for_the_epochs_of_probing(optimiser: str) -> None:
    """With batch norms that gather statistics, which probing leaves alone too."""
    settings = {"model__frozen_statistics": False, "optim__name": optimiser, "optim__lr": 1e-3}
    it = rival("lp_ft", method__probe_epochs=2, **settings)
    assert changed_by_a_step(it, 0) == changed_by_a_step(it, 1) == {"head"}
    assert not any(norm.training for norm in it.model.encoder.modules() if isinstance(norm, torch.nn.BatchNorm2d))
    assert changed_by_a_step(it, 2) == {"head", "encoder"}
    moved = it.model.state_dict()
    assert moved["encoder.bn1.num_batches_tracked"] == 1, "statistics of the one batch after probing"


def test_probing_is_a_step_of_the_head_and_leaves_nothing_to_the_encoders_first() -> None:
    """A frozen step is as if the encoder had not been there: it takes no momentum from it."""
    probed, plain = rival("lp_ft"), rival("source_only")
    head = copy.deepcopy(plain.model.head)
    for it in (probed, plain):
        it.step(doubles(), 1.0)
    start = rival("source_only").model.state_dict()
    for name, tensor in probed.model.head.state_dict().items():
        torch.testing.assert_close(tensor, plain.model.head.state_dict()[name])
        assert not torch.equal(tensor, head.state_dict()[name])
    late = dataclasses.replace(doubles(1), epoch=1)
    state = probed.optimiser.state
    assert not any(parameter in state for parameter in probed.model.encoder.parameters())
    probed.step(late, 1.0)
    assert not torch.equal(probed.model.state_dict()["encoder.conv1.weight"], start["encoder.conv1.weight"])
