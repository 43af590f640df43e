"""From Python: the same configurations, runs and answers as by the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import csg
import tune_spaces
from csg import cli, notebook
from csg.parsing import ConfigOptions, parse_flags
from csg.storage.layout import place_to_read
from csg.training.selected import load_selected
from tests.few_images import few_images
from tests.finished_run import finished_run, write_images
from tests.made_up_pair import made_up_pair
from tune_spaces import notebook as search_notebook

FLAGS = ["--method.name", "asg", "--train.epochs", "2", "--data.source", "a", "b", "--data.name", "folders"]
SETTINGS = {
    "method": {"name": "asg"},
    "train": {"epochs": 2},
    "data.source": [Path("a"), "b"],
    "data": {"name": "folders"},
}


def configure_by_flags(*flags: str) -> csg.Config:
    return parse_flags(ConfigOptions, flags, prog="csg train", description="").config


def test_import_csg_imports_neither_torch_nor_ray_nor_mlflow() -> None:
    program = (
        "import sys, csg, tune_spaces; print([name for name in ('torch', 'ray', 'mlflow') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize(("package", "room"), [(csg, notebook), (tune_spaces, search_notebook)])
def test_the_packages_offer_what_their_rooms_for_notebooks_describe(package: object, room: object) -> None:
    assert getattr(package, "__all__") == getattr(room, "__all__")  # noqa: B009 (of any module)
    assert all(getattr(package, name) is getattr(room, name) for name in getattr(package, "__all__"))  # noqa: B009
    assert set(getattr(package, "__all__")) == set(dir(package))  # noqa: B009
    with pytest.raises(AttributeError, match="has no attribute 'tarin'"):
        _ = getattr(package, "tarin")  # noqa: B009


def test_settings_by_keyword_make_the_configuration_that_flags_make() -> None:
    assert csg.configure(**SETTINGS) == configure_by_flags(*FLAGS)
    recipe = ("--config", "visda17_csg", "--optim.lr", "0.1", "--train.output", "out")
    assert csg.configure("visda17_csg", optim={"lr": 0.1}, train={"output": Path("out")}) == configure_by_flags(*recipe)
    assert csg.configure("visda17_csg.yaml") == csg.configure("visda17_csg")
    assert csg.configure() == configure_by_flags()


def test_a_file_of_a_recipes_name_goes_before_the_recipe() -> None:
    Path("visda17_csg").write_text("train: {epochs: 3}\n")
    assert csg.configure("visda17_csg").train.epochs == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"method": {"temprature": 0.1}},
            r"method\.temprature: no such setting; the nearest valid name is method\.tem",
        ),
        ({"methd": {"temperature": 0.1}}, "methd: no such setting; the nearest valid name is method"),
        ({"method": "asg"}, "method: expected settings by name, such as method={'name': ...}, found 'asg'"),
        ({"train": {"epochs": 0}}, r"train\.epochs: expected at least 1.*, found 0"),
        ({"train": {"epochs": 2}, "train.epochs": 3}, r"settings: expected train\.epochs once among the arguments"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_the_nearest_name(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(csg.UserError, match=message):
        csg.configure(**settings)


def test_a_missing_file_is_refused_with_the_names_of_the_recipes() -> None:
    with pytest.raises(
        csg.UserError, match=r"cannot read visda (.*) recipes by name: gta5_cityscapes_csg, .*visda17_csg"
    ):
        csg.configure("visda")


def test_a_search_takes_settings_and_its_own_flags_by_keyword() -> None:
    with pytest.raises(csg.UserError, match="num_sampels: no such setting; the nearest valid name is num_samples"):
        tune_spaces.start_search(num_sampels=3)
    with pytest.raises(csg.UserError, match="--num-samples: expected at least 2, found 1"):
        tune_spaces.start_search(num_samples=1)


def test_a_run_is_read_as_frames_and_its_model_answers_as_the_command_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = made_up_pair()
    run = csg.FinishedRun(finished_run(tmp_path / "runs", pair))
    assert list(run.epochs.index) == [1, 2, 3, 4] and run.epochs.index.name == "epoch"
    assert run.epochs["train/loss"].to_list() == [epoch["train/loss"] for epoch in run.run.record.epochs]
    assert run.final["target/test/accuracy"] == run.run.record.final["target/test/accuracy"]
    assert str(run.run.folder) in repr(run)

    model = csg.load(run.weights)
    shown = run.pictures
    np.testing.assert_array_equal(model.predict(shown["images"]), shown["predicted"])
    with pytest.raises(csg.UserError, match=r"images: expected uint8 of shape \(N, 3, H, W\), found float32"):
        model.predict(np.zeros((1, 3, 32, 32), np.float32))

    write_images(tmp_path / "images", pair, "target/test")
    (tmp_path / "images" / "damaged.png").write_bytes(b"")
    found = model.classify_folder(tmp_path / "images")
    assert "damaged.png" in capsys.readouterr().err
    assert cli.main(["predict", str(tmp_path / "images"), "--checkpoint", run.weights]) == 1
    pd.testing.assert_frame_equal(found.round(6), pd.read_csv("predictions.csv").round(6), check_dtype=False)


@pytest.mark.slow
def test_a_run_of_the_command_line_is_found_and_not_trained_again(capsys: pytest.CaptureFixture[str]) -> None:
    flags = few_images()
    settings = {name[2:].replace("-", "_"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}
    numbers = {"data.source_val_fraction": 0.25, "data.image_size": 32, "train.epochs": 1}
    assert cli.main(["train", *flags, "--train.epochs", "1", "--tracking-uri", "none"]) == 0
    capsys.readouterr()
    run = csg.train(csg.configure(**(settings | numbers)))
    assert "1 of 1 epoch is on record" in capsys.readouterr().out
    assert load_selected(place_to_read(run.weights, "weights")).config == run.config
    runs = csg.read_runs("folders")
    assert runs["metrics.target/test/accuracy"].to_list() == [run.final["target/test/accuracy"]]
