"""A teacher with weights, or an architecture, of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from csg.messages.errors import UserError
from csg.methods.csg import Csg
from csg.models import make_encoder
from csg.models.folding import FoldedEncoder
from csg.training.step import Learner
from tests.csg.methods.test_methods import batch, learner


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


def test_another_teacher_architecture_needs_weights() -> None:
    with pytest.raises(UserError, match=r"model.teacher_weights: expected the weights of model.teacher_name"):
        learner(model__teacher_name="resnet18")
