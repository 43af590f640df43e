"""Images on disk go through loader, check, training and search; what is wrong with them is said before any of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from csg import cli, data
from csg.config import Config
from csg.data import load_pair
from csg.data.pair import SOURCE_TRAIN
from csg.messages.errors import UserError
from csg.models import make_encoder
from csg.parsing import build_config
from csg.tracking import Tracker, get_default_tracking_uri
from csg.training.checkpoint import load_state
from csg.training.run import Run
from tests import warm
from tests.csg.commands.test_cli import Main, run
from tests.made_up_pair import TINY
from tests.published_trees import FAULTS, LIST, visda17_flags, write_folders, write_visda17
from tune_spaces import visda_search

ROOT = Path(__file__).parents[3]


def train(argv: list[str]) -> int:
    return cli.main(["train", *argv])


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    data._list_domains.cache_clear()
    data._load_once.cache_clear()
    yield
    data._load_once.cache_clear()


def _nothing(root: Path) -> str:
    return str(root)


def _lose_list(root: Path) -> str:
    (root / "train" / LIST).unlink()
    return str(root / "train" / LIST)


def _empty_folder(root: Path) -> str:
    empty = root / "nothing here"
    empty.mkdir()
    return str(empty)


UNUSABLE: list[tuple[str, Callable[[Path], str], list[str], str]] = [
    ("wrong root", _nothing, ["--data.root", "elsewhere"], "found nothing at"),
    ("no root", _nothing, ["--data.root", "None"], "data.root: expected the folder that holds train/"),
    ("empty folder", _empty_folder, ["--data.root", "tree/nothing here"], "expected the folder train/"),
    ("missing list", _lose_list, [], "cannot read"),
    ("unknown class", FAULTS["label out of range"][1], [], "expected a label of 0 to 11, found 12"),
    ("path outside", FAULTS["path into the other domain"][1], [], "expected a path below the list's own folder"),
    ("class with one image", FAULTS["class with one image"][1], [], "expected two images or more of 'train'"),
    ("bad line", FAULTS["line without a label"][1], [], "expected 'relative/path.png label'"),
    ("corrupt image", FAULTS["JPEG cut short"][1], [], "1 of 96 images cannot be used"),
    ("absent image", FAULTS["listed but absent"][1], [], "found no such file"),
    ("large batch", _nothing, ["--train.batch-size", "40"], "train.batch_size: expected at most the 36 images"),
    ("large part", _nothing, ["--data.source-images", "37"], "data.source_images: expected at most the 36"),
]


@pytest.mark.parametrize("main", [train, visda_search.main], ids=["train", "search"])
@pytest.mark.parametrize(("plant", "flags", "message"), [case[1:] for case in UNUSABLE], ids=[c[0] for c in UNUSABLE])
def test_data_that_cannot_be_used_are_refused_before_anything_is_trained(
    main: Main,
    plant: Callable[[Path], str],
    flags: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write_visda17(tmp_path / "tree")
    place = plant(root)
    code, said = run(main, [*visda17_flags(root), "--model.weights", "none", *flags], capsys)
    assert code == 2
    assert message in said and (plant in (_nothing, _empty_folder) or place in said)
    assert "Traceback" not in said
    assert not (tmp_path / "runs" / "trained").exists()
    assert not (tmp_path / "runs" / "searches").exists()


def tiny(root: Path, output: Path, **settings: object) -> Config:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    on_disk = {"data.name": "visda17", "data.root": str(root), "data.source_images": None, "train.output": str(output)}
    return build_config({**TINY, **on_disk, "data.cache": str(output / "cache"), **named})


def outcome(config: Config) -> tuple[list[dict[str, float]], dict[str, float], dict[str, torch.Tensor]]:
    trained = Run(config, load_pair(config.data))
    for _ in trained.train():
        pass
    final = trained.finish()
    epochs = [{name: value for name, value in epoch.items() if "second" not in name} for epoch in trained.record.epochs]
    return (
        epochs,
        {name: value for name, value in final.items() if "second" not in name},
        load_state(trained.selected)["model"],
    )


def assert_equal_outcomes(one: Any, other: Any) -> None:
    assert one[:2] == other[:2]
    assert all(torch.equal(one[2][name], other[2][name]) for name in one[2])


class Killed(Exception):
    """Stands in for a kill: nothing after it runs."""


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["randaugment", "none"])
def test_a_run_is_the_same_with_any_number_of_workers_and_when_resumed_with_another(
    tmp_path: Path, augmentation: str
) -> None:
    root = write_visda17(tmp_path / "tree")
    undisturbed = outcome(tiny(root, tmp_path / "whole", data__augmentation=augmentation))
    assert_equal_outcomes(
        outcome(tiny(root, tmp_path / "workers", data__augmentation=augmentation, data__workers=2)), undisturbed
    )
    config = tiny(root, tmp_path / "cut", data__augmentation=augmentation, train__checkpoint_minutes=0.0)

    def kill(done: int, total: int) -> None:
        if done == 6:
            raise Killed

    with pytest.raises(Killed):
        for _ in Run(config, load_pair(config.data)).train(kill):
            pass
    resumed = build_config({**_flat(config), "data.workers": 2})
    assert Run(resumed, load_pair(resumed.data)).folder == Run(config, load_pair(config.data)).folder
    assert_equal_outcomes(outcome(resumed), undisturbed)


def _flat(config: Config) -> dict[str, Any]:
    from csg.config.settings import flatten

    return flatten(config)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_goes_bad_during_training_ends_the_run_with_its_name(tmp_path: Path, workers: int) -> None:
    root = write_visda17(tmp_path / "tree")
    config = tiny(root, tmp_path / "runs", data__workers=workers)
    pair = load_pair(config.data)
    path = pair.streams[SOURCE_TRAIN].files.get_path(7)  # type: ignore[attr-defined]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"damaged file .*--data\.on-bad-image skip") as refused:
        for _ in Run(config, pair).train():
            pass
    assert str(path) in str(refused.value)


@pytest.mark.slow
def test_skipped_images_are_counted_in_every_stream_and_named_in_the_runs_tags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_visda17(tmp_path / "tree")
    config = tiny(root, tmp_path / "elsewhere")
    streams = load_pair(config.data).streams
    for name, count in (("source/train", 9), ("source/val", 2), ("target/val", 1), ("target/test", 3)):
        for index in range(count):
            streams[name].files.get_path(index).write_bytes(b"")  # type: ignore[attr-defined]
    flags = [*visda17_flags(root), "--model.weights", "none", "--data.on-bad-image", "skip", "--data.workers", "1"]
    code, said = run(train, flags, capsys)
    assert code == 0
    assert "15 images cannot be used and are skipped" in said
    store = Tracker(get_default_tracking_uri("runs"), "visda17")
    run_id = store.find({"csg.kind": "run"})
    assert run_id is not None
    found = store.client.get_run(run_id).data
    skipped = {name: value for name, value in found.metrics.items() if name.endswith("/skipped_images")}
    assert 0 < skipped.pop("source/train/skipped_images") <= 9
    assert skipped == {
        "source/val/skipped_images": 2,
        "source/shifted/skipped_images": 2,
        "target/val/skipped_images": 1,
        "target/test/skipped_images": 3,
    }
    assert found.metrics["target/test/images"] == 36 - 3
    assert int(found.tags["data.skipped_images"]) == found.metrics["source/train/skipped_images"] + 6


def test_nothing_but_bad_images_is_an_error(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree")
    config = tiny(root, tmp_path / "runs", data__on_bad_image="skip")
    pair = load_pair(config.data)
    for path in (root / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="expected an image in every batch, found none that can be read in step 0"):
        for _ in Run(config, pair).train():
            pass


def test_two_folders_are_trained_on_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write_folders(tmp_path)
    folders = ["--data.name", "folders", "--data.source", source.name, "--data.target", target.name]
    argv = [*folders, *visda17_flags(tmp_path)[4:], "--model.weights", "none", "--tracking-uri", "none"]
    code, said = run(train, argv, capsys)
    assert code == 0
    assert "synthetic images in renders/ -> real images in photographs/, 3 classes, 32x32" in said
    assert re.search(r"real accuracy +\d+\.\d % \[", said)
    code, again = run(train, argv, capsys)
    assert code == 0 and "checked" not in again and "1 of 1 epoch is on record" in again


def test_streams_without_an_image_are_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write_folders(tmp_path)
    for folder in target.iterdir():
        for path in sorted(folder.iterdir())[1:]:
            path.unlink()
    folders = ["--data.name", "folders", "--data.source", str(source), "--data.target", str(target)]
    argv = [*folders, "--data.allow-missing-classes", "True", "--model.weights", "none", "--train.batch-size", "2"]
    for command in (["train"], ["train", "--dry-run"], ["data", "check"]):
        code, said = run(lambda flags: cli.main([*command, *flags]), argv, capsys)  # noqa: B023
        assert code == 2 and "two images or more" in said and "leaves target/val empty; give more images" in said
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.slow
def test_a_search_runs_end_to_end_on_a_published_tree(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree", per_class=4)
    torch.save(make_encoder("resnet18").state_dict(), tmp_path / "resnet18.pth")
    command = [
        *(sys.executable, str(ROOT / "tune_spaces" / "visda_search.py"), *visda17_flags(root)),
        *("--model.name", "resnet18", "--model.weights", "resnet18.pth"),
        *("--num-samples", "2", "--concurrency", "1", "--data.workers", "1", "--train.threads", "1"),
    ]
    done = warm.run(command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "source train/val 36/12, target val/test 12/36" in done.stdout
    assert "2 finished, 0 stopped, 0 failed" in done.stdout
    assert "On the 36 real images of target/test" in done.stdout
