"""What is timm's own of its networks as encoders; their stages and trainings: :mod:`test_transformers_encoder`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from csg import cli
from csg.commands.export import FORMATS, TOLERANCE, export_to
from csg.config import ModelConfig
from csg.messages.errors import UserError
from csg.models.timm_encoder import TimmEncoder
from csg.models.transformers_folder import load_transformers_encoder
from csg.models.weights import load_encoder
from csg.training.selected import load_selected
from tests.csg.methods.test_methods import batch, learner
from tests.finished_run import finished_run
from tests.tiny_transformers import NEEDS_TIMM, save

ABOUT = {"architecture": "resnet18", "num_classes": 0, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}


def load(folder: Path, **more: Any) -> TimmEncoder:
    encoder = load_encoder(ModelConfig("transformers", weights=str(folder), **more), seed=0)
    assert isinstance(encoder, TimmEncoder)
    return encoder


def of(folder: Path) -> dict[str, Any]:
    return {"model__name": "transformers", "model__weights": str(folder)}


def noise(side: int = 32, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_without_timm_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="the extra [encoders] is not installed")
    monkeypatch.setitem(sys.modules, "timm", None)
    for about in (ABOUT, {"model_type": "timm_wrapper", "architecture": "resnet18"}):
        (tmp_path / "config.json").write_text(json.dumps(about))
        for part in ("model.", "model.teacher_"):
            start = ["--model.name", "efficientnet_lite0", "--model.weights", "none"] if "teacher" in part else []
            flags = [*start, f"--{part}name", "transformers", f"--{part}weights", str(tmp_path)]
            assert cli.main(["train", *flags, "--tracking-uri", "none"]) == 2
            said = capsys.readouterr().err.strip()
            assert f"{part}weights: networks of timm need the packages timm and torchvision, found that" in said
            assert f"install timm and the torchvision that is made for torch {torch.__version__}" in said
            assert "Traceback" not in said and len(said.splitlines()) == 1
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "timm_backbone", "backbone": "resnet18"}))
    with pytest.raises(UserError, match=r"model.weights: expected a network of timm as timm itself saves it"):
        load(tmp_path)


@NEEDS_TIMM
@pytest.mark.slow
def test_a_resnets_classifier_is_the_old_head_and_teaches_asg(tmp_path: Path) -> None:
    encoder = load(save(tmp_path / "resnet", "timm_resnet")).eval()
    head = encoder.get_old_head()
    assert head is not None
    logits = encoder.network(noise()).logits
    torch.testing.assert_close(head(encoder(noise())[-1].mean((2, 3))), logits, rtol=1e-5, atol=1e-5)
    learner(**of(tmp_path / "resnet"), method__name="asg").step(batch(), 1.0)
    for family in ("timm_vit", "timm_convnext"):  # which norm what they have averaged, or have tokens
        assert load(save(tmp_path / family, family)).get_old_head() is None
    assert load(save(tmp_path / "bare", "timm_resnet", num_classes=0)).get_old_head() is None


@NEEDS_TIMM
@pytest.mark.slow
def test_a_plain_transformers_last_map_is_its_last_state(tmp_path: Path) -> None:
    encoder = load(save(tmp_path, "timm_vit")).eval()
    network: Any = encoder.network
    tokens = network.timm_model.forward_features(noise())[:, 1:]
    torch.testing.assert_close(encoder(noise())[-1].flatten(2).transpose(1, 2), tokens)
    assert [tuple(each.shape[-2:]) for each in encoder(noise(44))] == [(6, 6)] * 4


@NEEDS_TIMM
@pytest.mark.slow
@pytest.mark.parametrize("family", ["timm_vit", "timm_swin"])
def test_images_of_another_size_than_the_networks_are_trained_on_and_exported(family: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "network", family, img_size=64)
    run = finished_run(tmp_path / "runs", **of(folder), train__epochs=1)
    assert export_to(tmp_path / "network.onnx", FORMATS[".onnx"], load_selected(run.selected)) <= TOLERANCE


@NEEDS_TIMM
@pytest.mark.slow
def test_nothing_is_dropped_whatever_the_folder_says(tmp_path: Path) -> None:
    rates = {"drop_rate": 0.5, "attn_drop_rate": 0.5, "drop_path_rate": 0.5, "proj_drop_rate": 0.5}
    for family, more in (("timm_vit", {"patch_drop_rate": 0.5}), ("timm_convnext", {}), ("timm_swin", {})):
        given = rates if family != "timm_convnext" else {"drop_rate": 0.5, "drop_path_rate": 0.5}
        encoder = load(save(tmp_path / family, family, **given, **more))
        trained = encoder.train()(noise())
        for mine, theirs in zip(trained, encoder.eval()(noise()), strict=True):
            assert torch.equal(mine, theirs)


@NEEDS_TIMM
@pytest.mark.slow
def test_gradient_checkpointing_changes_no_number_and_is_refused_with_batch_norms(tmp_path: Path) -> None:
    settings = of(save(tmp_path / "vit", "timm_vit"))
    plain, saving = (learner(**settings, model__gradient_checkpointing=value) for value in (False, True))
    assert plain.step(batch(), 1.0)[1] == saving.step(batch(), 1.0)[1]
    for mine, theirs in zip(plain.model.parameters(), saving.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(UserError, match=r"model.gradient_checkpointing: expected False, since .* has batch norms"):
        learner(**of(save(tmp_path / "resnet", "timm_resnet")), model__gradient_checkpointing=True)


@NEEDS_TIMM
@pytest.mark.slow
def test_what_timm_cannot_make_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = save(tmp_path, "timm_resnet")
    about = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"architecture": "resnet17"}, r"timm .* has no network named resnet17; install one that has it"),
        ({"model_args": {"petals": 3}}, r"timm .* cannot make a test_resnet as config.json describes it \(.*petals"),
        ({"architecture": "test_convnext"}, r"the weights in .* do not fit its config.json \(\d+ missing: "),
        ({"architecture": "levit_128s", "model_args": {}}, r"expected a network of at least 4 stages .*, found 3"),
        ({"architecture": "hiera_tiny_224", "model_args": {}}, r"expected a network of timm that gives the maps of"),
    ):
        (folder / "config.json").write_text(json.dumps(about | change))
        with pytest.raises(UserError, match=f"model.weights: {message}") as caught:
            load_transformers_encoder(folder, "model.weights", trained="model_args" not in change)
        assert "\n" not in str(caught.value)
