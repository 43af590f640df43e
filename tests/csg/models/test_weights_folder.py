"""Folders of weights as transformers keeps them, where transformers itself need not be there."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from csg import cli
from csg.config import ModelConfig
from csg.messages.errors import UserError
from csg.models import weights_folder
from csg.models.encoder import IMAGENET_MEAN, IMAGENET_STD
from csg.models.weights import load_encoder
from csg.models.weights_folder import Preparation, find_folder, read_preparation

HAS_HUB = importlib.util.find_spec("huggingface_hub") is not None


def prepare(folder: Path, about: dict[str, Any], name: str = "preprocessor_config.json") -> Preparation:
    (folder / name).write_text(json.dumps(about))
    return read_preparation(folder, "model.weights")


def test_images_are_prepared_as_the_folder_says(tmp_path: Path) -> None:
    assert read_preparation(tmp_path, "model.weights") == Preparation(IMAGENET_MEAN, IMAGENET_STD, None)
    whole = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2], "size": {"height": 224, "width": 224}}
    expected = Preparation((127.5, 102.0, pytest.approx(76.5)), (51.0, 51.0, 51.0), 224)  # type: ignore[arg-type]
    assert prepare(tmp_path, whole) == expected
    cropped = {"size": {"shortest_edge": 256}, "crop_size": {"height": 192, "width": 192}, "do_center_crop": True}
    assert prepare(tmp_path, whole | cropped).side == 192
    assert prepare(tmp_path, whole | cropped | {"do_center_crop": False}).side == 256
    assert prepare(tmp_path, whole | {"size": 64}).side == 64
    assert prepare(tmp_path, whole | {"do_normalize": False}).mean == (0.0, 0.0, 0.0)
    assert prepare(tmp_path, whole | {"do_normalize": False}).std == (255.0, 255.0, 255.0)
    unscaled = whole | {"do_rescale": False, "image_mean": [100, 100, 100], "image_std": [50, 50, 50]}
    assert prepare(tmp_path, unscaled).std == (50.0, 50.0, 50.0)


def test_a_processor_of_images_and_text_says_so_too(tmp_path: Path) -> None:
    about = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 32, "width": 32}}
    assert prepare(tmp_path, {"image_processor": about}, "processor_config.json").side == 32


def test_timm_says_so_in_the_networks_own_settings(tmp_path: Path) -> None:
    about = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "input_size": [3, 160, 160]}
    expected = Preparation((127.5, 102.0, pytest.approx(76.5)), (51.0, 51.0, 51.0), 160)  # type: ignore[arg-type]
    assert prepare(tmp_path, {"architecture": "resnet18", "pretrained_cfg": about}, "config.json") == expected
    with pytest.raises(UserError, match=r"cannot read how images are prepared in .*config.json"):
        prepare(tmp_path, {"pretrained_cfg": about | {"std": [0, 1, 1]}}, "config.json")
    assert prepare(tmp_path, {"pretrained_cfg": {}}, "config.json") == Preparation(IMAGENET_MEAN, IMAGENET_STD, None)


@pytest.mark.parametrize("about", [{"image_mean": [1, 2]}, {"image_mean": [0, 0, 0], "image_std": [0, 1, 1]}, [3]])
def test_a_damaged_preparation_is_refused(about: Any, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"model.weights: cannot read how images are prepared in .*config.json"):
        read_preparation(tmp_path, "model.weights")


def test_what_is_no_folder_of_weights_is_refused(tmp_path: Path) -> None:
    for weights, message in (
        ("imagenet", "expected a folder as transformers saves models"),
        (str(tmp_path / "nothing"), "found nothing at"),
        (__file__, "found a file at"),
        (str(tmp_path), "found no config.json in"),
    ):
        with pytest.raises(UserError, match=message):
            find_folder(weights, "model.weights")


def test_without_the_extra_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for weights in (str(tmp_path), "facebook/dinov2-small"):
        flags = ["--model.name", "transformers", "--model.weights", weights, "--tracking-uri", "none"]
        assert cli.main(["train", *flags]) == 2
        said = capsys.readouterr().err.strip()
        assert "pip install -c constraints.txt -e '.[encoders]'" in said and "Traceback" not in said


@pytest.mark.skipif(not HAS_HUB, reason="the extra [encoders] is not installed")
def test_without_a_network_a_name_that_is_not_cached_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever does not answer, or never, is not waited for."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.model_info", lambda *_, **__: time.sleep(300))
    monkeypatch.setattr(weights_folder, "HUB_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"nobody/nothing is neither a folder nor .*no answer within 0 s.*") as caught:
        load_encoder(ModelConfig("transformers", weights="nobody/nothing"), seed=0)
    assert time.monotonic() - began < 60 and "\n" not in str(caught.value)
    monkeypatch.setattr("huggingface_hub.model_info", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match=r"cannot be fetched \(division by zero\); download it"):
        find_folder("nobody/nothing", "model.weights")


@pytest.mark.skipif(not HAS_HUB, reason="the extra [encoders] is not installed")
def test_a_name_in_the_cache_stands_for_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--somebody--something" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    refs = tmp_path / "models--somebody--something" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_folder("somebody/something", "model.weights") == snapshot
