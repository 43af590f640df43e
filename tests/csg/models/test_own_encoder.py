"""An encoder from outside the package: the docs' example, and what happens where it cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from csg import cli
from csg.config import ModelConfig
from csg.config.settings import flatten
from csg.messages.errors import UserError
from csg.models.own_encoder import try_out
from csg.models.weights import check_weights, load_encoder
from csg.parsing import build_config, parse_flags
from csg.training.identity import compute_config_id
from csg.workers.cluster import list_inputs
from tests.csg.methods.test_methods import batch, learner
from tests.few_images import few_images
from tune_spaces.search.options import SearchOptions

PAGE = (Path(__file__).parents[3] / "docs" / "encoders.md").read_text()
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "small_net.py"
    path.write_text(EXAMPLE)
    return path


def test_the_docs_example_trains_and_predicts_and_is_exported(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--train.epochs", "1", "--train.batch-size", "8", "--method.queue-size", "50", "--tracking-uri", "none"]
    encoder = ("--model.path", "small_net.py:SmallNet", "--model.weights", "none")
    flags = [*few_images(encoder=encoder), *small]
    assert cli.main(["train", *flags, "--data.source-images", "40"]) == 0
    (selected,) = tmp_path.rglob("selected.pt")
    assert cli.main(["export", "--checkpoint", str(selected), "--output", "small.pt2"]) == 0
    assert "read back, its probabilities differ" in capsys.readouterr().out
    start = load_encoder(ModelConfig("SmallNet", path=f"{example}:SmallNet", weights=str(selected)), seed=0)
    trained = torch.load(selected, weights_only=True)["model"]
    assert all(torch.equal(trained[f"encoder.{name}"], one) for name, one in start.state_dict().items())


def test_it_reaches_every_process_by_its_path(example: Path) -> None:
    given = ["--model.path", "small_net.py:SmallNet", "--model.weights", "none"]
    config = parse_flags(SearchOptions, given, prog="", description="").config
    assert config.model.path == f"{example}:SmallNet" and config.model.name == "SmallNet"
    assert list_inputs(config)["model.path"] == str(example)
    assert build_config(flatten(config)) == config


def test_its_source_is_part_of_what_is_computed_and_its_place_is_not(example: Path, tmp_path: Path) -> None:
    copy, edited = tmp_path / "copy.py", tmp_path / "edited.py"
    copy.write_text(EXAMPLE)
    edited.write_text(EXAMPLE + "# another line\n")
    ids = [
        compute_config_id(build_config({f"model.{what}path": f"{path}:SmallNet", "model.weights": "none"}))
        for what in ("", "teacher_")
        for path in (example, copy, edited)
    ]
    assert ids[0] == ids[1] and ids[3] == ids[4] and len(set(ids)) == 4


def test_it_teaches_and_is_taught(example: Path) -> None:
    place = f"{example}:SmallNet"
    taught = learner(model__teacher_path=place, model__teacher_weights="none")
    taught.step(batch(), 1.0)
    config = {**flatten(taught.config), "model.path": place, "model.teacher_path": None, "model.teacher_name": "tiny"}
    config["model.name"] = "SmallNet"
    from csg.training.step import make_learner

    make_learner(build_config(config), classes=3).step(batch(), 1.0)


def test_another_name_is_refused(example: Path) -> None:
    with pytest.raises(UserError, match=r"model.name: expected 'SmallNet', the class that model.path names, or none"):
        build_config({"model.path": f"{example}:SmallNet", "model.name": "resnet18"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(ImageNetEncoder):", ":", "expected a subclass of csg.models.encoder.Encoder"),
        ("super().__init__()", "raise ValueError(3)", r"SmallNet\(\) fails \(ValueError: 3\)"),
        ("channels = (16, 32, 64, 128)", "widths = channels = (16, 32, 64, 128); del channels", "to set channels"),
        ("self.stages[:depth]", "self.stages[:2]", r"expected SmallNet to return four maps"),
        ("images = stage(images)", "images = stage(images.half())", r"SmallNet fails on an image of 64 px"),
        (
            '"stem": []',
            '"stem": [self.stages[0]]',
            r"each parameter in one of SmallNet.list_groups\(\), found ",
        ),
        ('"stem": [], **', "**", r"groups\(\) to name stem and stage1 to stage4, found stage1"),
    ],
)
def test_an_encoder_that_does_not_keep_its_promises_is_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in EXAMPLE
    path = tmp_path / "broken.py"
    path.write_text(EXAMPLE.replace(old, new).replace("*self.channels", "16, 32, 64, 128"))
    with pytest.raises(UserError, match=message) as caught:
        check_weights(
            build_config({"model.path": f"{path}:SmallNet", "model.weights": "none"}).model, seed=0, old_head=False
        )
    assert str(caught.value).startswith("model.path: ")


def test_an_encoder_of_this_package_passes_the_same_trial() -> None:
    from csg.models import make_encoder

    for name in ("resnet10", "efficientnet_lite0"):
        try_out(make_encoder(name), "model.name")
