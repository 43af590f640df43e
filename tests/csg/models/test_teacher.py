"""A teacher with weights, or an architecture, of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from csg.messages.errors import UserError
from csg.methods.csg import Csg
from csg.models import ENCODERS, make_encoder
from csg.models.folding import FoldedEncoder
from csg.models.resnet import BasicBlock, ResNet
from csg.training.step import Learner
from tests.csg.methods.test_methods import batch, learner

ENCODERS["tiny_fine"] = lambda: ResNet(BasicBlock, (1, 1, 1, 1), width=8, classes=10, small_stem=True)


def frozen_key(it: Learner) -> nn.Module:
    assert isinstance(it.method, Csg)
    return it.method.frozen["key"]


def test_a_teacher_with_weights_of_its_own_is_the_key_encoder(tmp_path: Path) -> None:
    teacher = make_encoder("tiny")
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
        with pytest.raises(UserError, match=r"model\.teacher_name: .*(width|architecture)"):
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
    student, other = make_encoder("efficientnet_lite0"), make_encoder("resnet18")
    from csg.models.teacher import Teacher

    pictures = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        seen = Teacher(other, student)(student.normalise(pictures))
        expected = FoldedEncoder(other)(other.normalise(pictures))
    for mine, theirs in zip(seen, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_maps_of_another_size_are_attended_to() -> None:
    """A small stem's maps are twice as fine as another ResNet's of the same width."""
    for settings in ({}, {"method__name": "feature_l2", "method__pooling": "apool"}):
        it = learner(
            model__name="tiny",
            model__teacher_name="tiny_fine",
            model__teacher_weights="none",
            **settings,
        )
        for seed in range(2):
            it.step(batch(seed), 1.0)


@pytest.mark.parametrize("name", ["csg", "feature_l2", "asg"])
def test_a_teacher_in_bfloat16_gives_nearly_the_same_maps(name: str) -> None:
    settings: dict[str, Any] = {"method__name": name, "model__name": "tiny"}
    settings |= {"method__queue_size": 21, "method__projection_width": 16} if name == "csg" else {}
    plain, half = (learner(**settings, model__teacher_precision=precision) for precision in (None, "bfloat16"))
    frozen = "key" if name == "csg" else "teacher"
    images = batch().query
    for mine, theirs in zip(half.method.frozen[frozen](images), plain.method.frozen[frozen](images), strict=True):
        assert mine.dtype == torch.float32 and not torch.equal(mine, theirs)
        torch.testing.assert_close(mine, theirs, rtol=0.1, atol=0.05)
    half.step(batch(), 1.0)
    with pytest.raises(UserError, match=r"model.teacher_precision: expected None with train.precision=float64"):
        learner(**settings, model__teacher_precision="bfloat16", train__precision="float64")


def test_another_teacher_architecture_needs_weights() -> None:
    with pytest.raises(UserError, match=r"model.teacher_weights: expected the weights of model.teacher_name"):
        learner(model__teacher_name="resnet18")
