"""Files of weights as people have them: wrapped, prefixed, without a head, damaged, with code in them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from csg.config import ModelConfig
from csg.messages.errors import UserError
from csg.models import make_encoder
from csg.models.weights import check_weights, load_encoder
from tests.csg.methods.test_methods import learner
from tests.csg.models.test_models import randomised

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return {name: tensor.clone() for name, tensor in randomised(make_encoder("tiny")).state_dict().items()}


def loaded(path: Path, content: object, setting: str = "model.weights") -> State:
    torch.save(content, path)
    return load_encoder(ModelConfig("tiny", str(path)), seed=0, setting=setting).state_dict()


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


WAYS: dict[str, Callable[[State], object]] = {
    **{
        name: lambda state, name=name: {name: state, "epoch": 3}  # type: ignore[misc]
        for name in ("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module", "params")
    },
    "ema": lambda state: {"ema": state, "optimizer": torch.optim.SGD([torch.zeros(1)]).state_dict()},
    "twice": lambda state: {"checkpoint": 1, "model": {"state_dict": state}},
    "data parallel": lambda state: {"state_dict": prefixed(state, "module.")},
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "compiled and parallel": lambda state: {"model": prefixed(state, "module._orig_mod.encoder.")},
    "a part compiled": lambda state: {n.replace("layer1.", "layer1._orig_mod."): t for n, t in state.items()},
    "lightning": lambda state: {"state_dict": prefixed(state, "model.backbone.") | {"model.head.bias": torch.zeros(2)}},
    "moco": lambda state: {"state_dict": prefixed(state, "module.encoder_q.") | {"module.queue": torch.zeros(9)}},
    "teacher first": lambda state: {"student": zeros(state), "teacher": state},
    "tensors beside": lambda state: {"best": torch.tensor(1.0), "loss": torch.zeros(3), "model": state},
    "no head": lambda state: {n: t for n, t in state.items() if not n.startswith("fc.")},
    "another head": lambda state: state | {"fc.weight": torch.zeros(7, 32), "fc.bias": torch.zeros(7)},
    "head of two layers": lambda state: (
        without_head(state) | {"fc.0.weight": torch.ones(2), "fc.2.bias": torch.ones(2)}
    ),
    "halves": lambda state: {n: t.half() if t.is_floating_point() else t for n, t in state.items()},
    "no counters": lambda state: {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")},
}


def zeros(state: State) -> State:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


def without_head(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_found_wherever_they_lie_in_a_checkpoint(way: str, state: State, tmp_path: Path) -> None:
    found = loaded(tmp_path / "checkpoint.pth", WAYS[way](state))
    headless = way in ("no head", "another head", "head of two layers")
    for name, tensor in found.items():
        if headless and name.startswith("fc."):
            assert not tensor.any()
        elif not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(tensor, state[name], rtol=0, atol=1e-3 if way == "halves" else 0)


def test_safetensors_load(state: State, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(prefixed(state, "backbone."), tmp_path / "weights.safetensors")
    found = load_encoder(ModelConfig("tiny", str(tmp_path / "weights.safetensors")), seed=0).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    whole = (tmp_path / "weights.safetensors").read_bytes()
    for damaged in (b"", b"hello", whole[: len(whole) // 2]):
        (tmp_path / "weights.safetensors").write_bytes(damaged)
        with pytest.raises(UserError, match=r"weights.safetensors is not a safetensors file, or not a whole one"):
            load_encoder(ModelConfig("tiny", str(tmp_path / "weights.safetensors")), seed=0)


def test_selected_weights_of_a_finished_run_are_a_start(tmp_path: Path) -> None:
    trained = learner(model__name="tiny").model
    trained_state = {"model": trained.state_dict(), "config": {"model.name": "tiny"}, "classes": ["a", "b"]}
    found = loaded(tmp_path / "selected.pt", trained_state)
    assert all(torch.equal(found[name], tensor) for name, tensor in trained.encoder.state_dict().items())


@pytest.mark.parametrize("content", [{"epoch": 3, "best": {"a": torch.zeros(1)}}, {}, [torch.zeros(1)], 7])
def test_a_checkpoint_without_a_state_dict_is_refused_by_what_is_in_it(content: object, tmp_path: Path) -> None:
    found = {dict: "the keys epoch, best" if content else "an empty dict", list: "found list", int: "found int"}
    with pytest.raises(UserError, match=f"model.weights: expected .* in .*x.pth.*{found[type(content)]}"):
        loaded(tmp_path / "x.pth", content)


def test_a_deeper_encoder_does_not_pass_for_a_shallower_one(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = make_encoder("resnet34").state_dict()
    torch.save({name: torch.zeros(like.shape) for name, like in names.items()}, tmp_path / "r34.pth")
    with pytest.raises(UserError, match=r"does not fit resnet18 \(\d+ unexpected: layer1.2.conv1.weight, "):
        load_encoder(ModelConfig("resnet18", str(tmp_path / "r34.pth")), seed=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_with_the_tensors_name(
    value: float, state: State, tmp_path: Path
) -> None:
    broken = {name: tensor.clone() for name, tensor in prefixed(state, "module.").items()}
    broken["module.layer2.0.conv1.weight"][0, 0] = value
    with pytest.raises(UserError, match=rf"model.weights: .*x.pth: expected finite weights, found {value} in module"):
        loaded(tmp_path / "x.pth", {"state_dict": broken})
    with pytest.raises(UserError, match=r"model.teacher_weights: .*x.pth: .* in module.layer2.0.conv1.weight \("):
        check_weights(ModelConfig("tiny", "none", teacher_weights=str(tmp_path / "x.pth")), seed=0, old_head=False)


def test_a_negative_variance_and_an_overflow_are_refused(state: State, tmp_path: Path) -> None:
    negative = state | {"bn1.running_var": -torch.ones_like(state["bn1.running_var"])}
    with pytest.raises(UserError, match=r"expected finite variances of at least 0, found -1.0 in bn1.running_var"):
        loaded(tmp_path / "x.pth", negative)
    with pytest.raises(UserError, match=r"expected finite weights, found inf in conv1.weight"):
        loaded(tmp_path / "x.pth", state | {"conv1.weight": torch.full_like(state["conv1.weight"].double(), 1e200)})


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    "beside", [argparse.Namespace(lr=1), Evil(), torch.nn.Linear(1, 1)], ids=["args", "evil", "whole"]
)
def test_a_pickle_with_code_is_refused_and_not_run(
    beside: object, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"x.pth holds more than tensors.*weights_only=False") as caught:
        loaded(tmp_path / "x.pth", {"state_dict": state, "args": beside})
    assert "\n" not in str(caught.value) and not Path("ran").exists()


def test_a_torchscript_program_and_a_damaged_file_are_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))  # type: ignore[no-untyped-call]
    with pytest.raises(UserError, match="is a TorchScript program"):
        load_encoder(ModelConfig("tiny", str(path)), seed=0)
    torch.save(state, path)
    for damaged in (path.read_bytes()[:999], b"", b"<html>", json.dumps({"a": 1}).encode()):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"is not a torch state dict, or not a whole one"):
            load_encoder(ModelConfig("tiny", str(path)), seed=0)


def test_a_method_that_uses_the_old_head_refuses_a_file_without_one(state: State, tmp_path: Path) -> None:
    torch.save(without_head(state), tmp_path / "x.pth")
    config = ModelConfig("tiny", str(tmp_path / "x.pth"))
    check_weights(config, seed=0, old_head=False)
    with pytest.raises(
        UserError, match=r"does not fit tiny, whose ImageNet classifier the method uses \(2 missing: fc"
    ):
        check_weights(config, seed=0, old_head=True)
    check_weights(ModelConfig("tiny", str(tmp_path / "x.pth"), teacher_weights="none"), seed=0, old_head=True)
