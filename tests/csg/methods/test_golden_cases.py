"""The production classes reproduce what the authors' model computed, in float64, over several training steps."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from csg.methods.csg import Csg
from csg.methods.method import Batch
from csg.methods.queue import KeyQueue
from csg.models.classifier import Classifier
from csg.models.model import Model
from csg.models.resnet import BasicBlock, Bottleneck, ResNet
from csg.parsing import build_config
from csg.training.step import Learner
from tests.csg.methods import test_methods

BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"BasicBlock": BasicBlock, "Bottleneck": Bottleneck}
Case = dict[str, Any]


def cases_in(folder: Path) -> list[Case]:
    """Read the folder's cases; fail if there are none, or one without its file."""
    listing = folder / "cases.json"
    cases: list[Case] = json.loads(listing.read_text()) if listing.is_file() else []
    if not cases:
        pytest.fail(f"--golden-dir: expected cases in {listing}, found none", pytrace=False)
    missing = [case["tag"] for case in cases if not (folder / f"{case['tag']}.npz").is_file()]
    if missing:
        pytest.fail(f"--golden-dir: no .npz in {folder} for {', '.join(missing)}", pytrace=False)
    return cases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        folder: Path = metafunc.config.getoption("--golden-dir")
        cases = cases_in(folder)
        metafunc.parametrize(("folder", "case"), [(folder, case) for case in cases], ids=[c["tag"] for c in cases])


def fill(parameter: Tensor, name: str) -> None:
    """Draw a tensor from its name, as the cases' README says."""
    g = np.random.default_rng(zlib.crc32(name.encode()))
    shape = tuple(parameter.shape)
    if name.endswith("running_var"):
        value = g.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        value = g.uniform(-0.1, 0.1, shape)
    elif name.endswith("bias"):
        value = g.uniform(-0.05, 0.05, shape)
    elif len(shape) == 1:
        value = g.uniform(0.8, 1.2, shape)
    else:
        value = g.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(value))


def golden_names(model: Model, projections: nn.Module) -> dict[str, Tensor]:
    """Map the cases' names to this project's tensors."""
    named = {name: tensor for name, tensor in model.encoder.state_dict(keep_vars=True).items() if tensor.ndim}
    named = {name: tensor for name, tensor in named.items() if not name.startswith("fc.")}
    named |= {f"fc_new.{name}": tensor for name, tensor in model.head.state_dict(keep_vars=True).items()}
    return named | {f"fc_csg.{name}": tensor for name, tensor in projections.state_dict(keep_vars=True).items()}


def learner_of(case: Case) -> tuple[Learner, Csg]:
    stages: list[int] = case["stages"]
    apool = case["apool"] if isinstance(case["apool"], list) else [case["apool"]] * len(stages)
    weight = case["csg_weight"] if isinstance(case["csg_weight"], list) else [case["csg_weight"]] * len(stages)
    flat: dict[str, Any] = {
        "method.stages": "+".join(map(str, stages)),
        "method.temperature": case["temperature"],
        "method.queue_size": case["queue_size"],
        "optim.lr": case["lr"],
        "optim.backbone_lr_factor": case["backbone_lr_factor"],
        "optim.momentum": case["momentum"],
        "optim.weight_decay": case["weight_decay"],
        "train.precision": case["dtype"].removeprefix("torch."),
    }
    for stage, pools, share, chunks in zip(stages, apool, weight, case["chunks"], strict=True):
        flat[f"method.stage{stage}.weight"] = float(share)
        flat[f"method.stage{stage}.pooling"] = "apool" if pools else "average"
        flat[f"method.stage{stage}.chunks"] = chunks
    config = build_config(flat)
    encoder = ResNet(BLOCKS[case["block"]], case["layers"])
    model = Classifier(encoder, classes=12, head_width=512, frozen_statistics=True).to(torch.float64)
    for name, tensor in golden_names(model, nn.Module()).items():
        fill(tensor, name)
    method = Csg(config.method, model, teacher=model.encoder, seed=0)  # type: ignore[arg-type]
    for heads in (method.projections, method.key_projections):
        for name, tensor in heads.state_dict(keep_vars=True).items():
            fill(tensor, f"fc_csg.{name}")
    for stage in stages:
        start = np.random.default_rng(1000 + stage).standard_normal((128, case["queue_size"]))
        queue = method.queues[f"stage{stage}"]
        assert isinstance(queue, KeyQueue)
        queue.keys.copy_(torch.from_numpy((start / np.linalg.norm(start, axis=0)).T))
    return Learner(config, model, method), method


def batch_of(case: Case, step: int) -> Batch:
    r = np.random.default_rng(7000 + step)
    shape = (case["batch"], 3, case["size"], case["size"])
    query, key = torch.from_numpy(r.standard_normal(shape)), torch.from_numpy(r.standard_normal(shape))
    labels = torch.from_numpy(r.integers(0, 12, case["batch"]))
    return test_methods.batch_of(query, key if case["two_views"] else query, labels)


def norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))


def run(case: Case) -> dict[str, Any]:
    """Take the case's steps and record everything that a case may record."""
    learner, method = learner_of(case)
    parameters = golden_names(learner.model, method.projections)
    key_parameters = {f"fc_csg.{name}": t for name, t in method.key_projections.state_dict().items()}
    recorded: dict[str, Any] = {}
    for t in range(case["steps"]):
        result, scalars = learner.step(batch_of(case, t), case["lr_factors"][t])
        gradients = {name: tensor.grad for name, tensor in parameters.items() if tensor.grad is not None}
        step: dict[str, Any] = {
            "logits": result.output.logits.detach(),
            "loss_ce": scalars["loss_task"],
            "loss_csg": [scalars[f"loss_csg_stage{stage}"] for stage in case["stages"]],
            "loss_total": scalars["loss"],
            "grad_norm_total": norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients.values()])),
        }
        step |= {f"grad_norm/{name}": norm(gradient) for name, gradient in gradients.items()}
        step |= {f"param_norm/{name}": norm(tensor.detach()) for name, tensor in parameters.items()}
        step |= {f"key_param_norm/{name}": norm(tensor) for name, tensor in key_parameters.items()}
        for term in result.terms:
            stage = term.name.removeprefix("csg_")
            queue = method.queues[stage]
            assert isinstance(queue, KeyQueue) and term.logits is not None
            step |= {
                f"csg_logits_{stage}": term.logits.detach(),
                f"queue_ptr_{stage}": queue.pointer,
                f"queue_sum_{stage}": queue.keys.sum(dim=0),
            }
        recorded |= {f"step{t}/{name}": value for name, value in step.items()}
    return recorded


def test_training_steps_equal_the_authors(folder: Path, case: Case) -> None:
    expected = np.load(folder / f"{case['tag']}.npz")
    computed = run(case)
    assert len(expected.files) > 0
    for name in expected.files:
        mine, theirs = np.asarray(computed[name], dtype=np.float64), expected[name]
        assert mine.shape == theirs.shape, name
        gap, scale = np.abs(mine - theirs).max(), np.abs(theirs).max()
        assert gap <= 1e-10 * scale, f"{name}: max|a - b| = {gap:.3g}, max|a| = {scale:.3g}"


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="found none"):
        cases_in(tmp_path)


def test_a_case_without_its_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text('[{"tag": "lost"}]')
    with pytest.raises(pytest.fail.Exception, match="lost"):
        cases_in(tmp_path)
