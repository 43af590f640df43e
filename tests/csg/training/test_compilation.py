"""Compiled encoders: which, under the same names, and what is said where nothing can compile."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from csg.config.settings import flatten
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.training.identity import compute_config_id
from tests.csg.methods.test_methods import batch, learner


@pytest.mark.slow
def test_the_trained_encoder_and_the_frozen_ones_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiler's own first half alone, which computes as without: the other half takes minutes."""
    compiled: list[nn.Module] = []
    compile_module = nn.Module.compile

    def note(module: nn.Module) -> None:
        compiled.append(module)
        compile_module(module, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", note)
    eager, it = learner(), learner(train__compile=True)
    assert compiled == [it.model.encoder, *(frozen.encoder for frozen in it.method.frozen.values())]
    assert it.model.state_dict().keys() == eager.model.state_dict().keys()
    for seed in range(2):
        assert it.step(batch(seed), 1.0)[1] == pytest.approx(eager.step(batch(seed), 1.0)[1], rel=1e-5)
    torch.compiler.reset()


def test_it_is_no_part_of_the_identity_but_is_recorded() -> None:
    plain, compiled = (build_config({"train.compile": value}) for value in (False, True))
    assert compute_config_id(plain) == compute_config_id(compiled) and flatten(compiled)["train.compile"] is True


def test_without_a_compiler_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"train.compile: expected a C\+\+ compiler"):
        learner(train__compile=True)
