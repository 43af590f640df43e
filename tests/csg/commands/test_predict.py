"""``csg predict`` gives every image the class that an evaluation gives it, and loses nothing to a broken file."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from csg import cli
from csg.data.pair import TARGET_TEST, Pair
from csg.models.weights import find_named_weights
from csg.storage.disk import DiskPlace
from csg.tasks import find_task
from csg.tasks.measurement import Inference
from csg.training import selected as selected_module
from csg.training.run import Run
from tests.csg.commands.test_cli import run as run_command
from tests.finished_run import finished_run, new_run, write_images
from tests.made_up_pair import labelled, made_up_pair
from tests.published_trees import write_shards


def evaluated(run: Run, pair: Pair) -> torch.Tensor:
    """Return the confusion counts of an evaluation on target/test."""
    inference = Inference(run.load_selected_model(), run.config)
    return find_task(run.config.data).measure(inference, run.config, pair, TARGET_TEST).confusion


def predict(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str]:
    return run_command(cli.main, ["predict", *map(str, argv)], capsys)


def rows(path: Path | str = "predictions.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def edited(checkpoint: Path, **changes: Any) -> Path:
    """Write a copy of a checkpoint with some entries changed, or left out where None."""
    state = torch.load(checkpoint, weights_only=True) | changes
    torch.save({name: value for name, value in state.items() if value is not None}, "edited.pt")
    return Path("edited.pt")


@pytest.mark.parametrize(
    ("mirrored", "averaging", "batch"),
    [(False, "softmax", 64), (True, "softmax", 64), (True, "sigmoid", 4), (True, "none", 64)],
)
def test_the_predicted_classes_are_those_of_an_evaluation(
    mirrored: bool, averaging: str, batch: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = dataclasses.replace(made_up_pair(), flip_averaging=mirrored)
    run = finished_run(tmp_path / "runs", pair, data__flip_averaging=averaging, train__evaluation_batch_size=batch)
    write_images(tmp_path / "photos", pair, TARGET_TEST)
    assert predict(capsys, "photos", "--checkpoint", run.selected)[0] == 0
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    for row in rows():
        confusion[pair.classes.index(Path(row["file"]).parent.name), pair.classes.index(row["class"])] += 1
    assert len(confusion.sum(dim=0).nonzero()) > 1
    assert torch.equal(confusion, evaluated(run, pair))


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_probability_is_that_of_the_predicted_class(
    mirrored: bool, trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = edited(trained.selected.local, flip_averaging=mirrored)
    assert predict(capsys, photos, "--checkpoint", checkpoint)[0] == 0
    model = trained.load_selected_model().eval()
    for row in rows():
        image = labelled(trained.pair, TARGET_TEST).load_images(torch.tensor([int(Path(row["file"]).stem)]))
        views = [image, image.flip(3)] if mirrored else [image]
        with torch.no_grad():
            probabilities = torch.stack([model(model.encoder.normalise(v)).logits.softmax(1)[0] for v in views]).mean(0)
        assert float(row["probability"]) == pytest.approx(float(probabilities.max()), abs=1e-5)
        assert row["class"] == trained.pair.classes[int(probabilities.argmax())]


def test_every_image_has_a_row_in_the_order_of_its_name(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (50, 40)).save(photos / 'a, "quoted"\nname.JPG')
    (photos / "notes.txt").write_text("not an image")
    code, said = predict(capsys, photos, "--checkpoint", trained.selected, "--output", "new/classes.csv")
    assert code == 0
    assert "16 of 16 images are classified: new/classes.csv" in said
    files = [row["file"] for row in rows("new/classes.csv")]
    assert files == sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.[pJ]*"))
    assert list(rows("new/classes.csv")[0]) == ["file", "class", "probability"]


def test_a_file_name_that_is_not_utf_8_keeps_its_bytes(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "latin"
    folder.mkdir()
    Image.new("L", (32, 32)).save(folder / "caf\udce9.png")
    assert predict(capsys, folder, "--checkpoint", trained.selected)[0] == 0
    assert b"caf\xe9.png," in Path("predictions.csv").read_bytes()


def test_the_same_folder_gives_the_same_bytes_whatever_the_loaders_processes(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = torch.load(trained.selected.local, weights_only=True)["config"]
    found = []
    for checkpoint in (
        trained.selected,
        trained.selected,
        edited(trained.selected.local, config=config | {"data.workers": 2}),
    ):
        assert predict(capsys, photos, "--checkpoint", checkpoint)[0] == 0
        found.append(Path("predictions.csv").read_bytes())
    assert len(set(found)) == 1


def test_neither_the_data_nor_the_starting_weights_are_needed(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = torch.load(trained.selected.local, weights_only=True)["config"]
    gone = {"data.name": "visda17", "data.root": "/nowhere", "model.weights": "/nowhere/resnet.pth"}
    assert predict(capsys, photos, "--checkpoint", edited(trained.selected.local, config=config | gone))[0] == 0


def test_an_architecture_that_the_method_changed_is_built_again(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path / "runs", method__name="ibn_net")
    assert predict(capsys, photos, "--checkpoint", run.selected)[0] == 0
    confusion = evaluated(run, run.pair)
    assert sum(row["class"] == Path(row["file"]).parent.name for row in rows()) == int(confusion.diag().sum())


def test_weights_of_double_precision_stay_so(trained: Run, tmp_path: Path) -> None:
    run = finished_run(tmp_path / "runs", train__precision="float64")
    loaded = selected_module.load_selected(run.selected).build_model().state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in run.load_selected_model().state_dict().items())


def test_broken_images_are_named_and_counted_and_the_others_written(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (photos / "a" / "0000.png").read_bytes()
    (photos / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "text.png").write_text("hello")
    code = cli.main(["predict", str(photos), "--checkpoint", str(trained.selected)])
    said = capsys.readouterr()
    assert code == 1
    assert "2 images cannot be read and are left out" in said.err
    assert f"{photos}/a/cut.png: expected an image, found a damaged file" in said.err
    assert f"{photos}/text.png: expected an image, found another kind of file" in said.err
    assert "15 of 17 images are classified" in said.out
    assert len(rows()) == 15


def test_a_folder_of_nothing_but_broken_images_leaves_the_header(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "empty.png").touch()
    code, said = predict(capsys, "broken", "--checkpoint", trained.selected)
    assert (code, rows()) == (1, [])
    assert "0 of 1 image is classified" in said


def test_an_interrupt_leaves_the_file_of_before(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    Path("predictions.csv").write_text("of before")
    monkeypatch.setattr("csg.commands.prediction.compute_class_scores", interrupted)
    code, said = predict(capsys, photos, "--checkpoint", trained.selected)
    assert code == 130
    assert "nothing was written" in said
    assert Path("predictions.csv").read_text() == "of before"
    assert not list(Path().glob(".predictions*"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "nowhere: expected a folder with images, found nothing"),
        (["hollow"], "hollow: expected images (.bmp, .jpeg"),
        (["file"], "file: expected a folder with images, found a file"),
        (["photos", "--output", "file/new.csv"], "--output: cannot write to file"),
        (["photos", "--output", "hollow"], "--output: expected a file to write, found a folder at hollow"),
        (["photos", "--device", "cuda"], "--device: expected a CUDA device, found none"),
        (["photos", "--method.temperature", "0.1"], "unrecognized"),
    ],
)
def test_what_cannot_be_used_is_refused(
    argv: list[str],
    message: str,
    trained: Run,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "hollow").mkdir()
    (tmp_path / "file").write_text("")
    code, said = predict(capsys, *argv, "--checkpoint", trained.selected)
    assert code == 2
    assert message.lower() in said.lower()
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("*.csv"))


def test_a_run_on_a_gpu_is_used_on_the_cpu_where_there_is_no_gpu(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    config = torch.load(trained.selected.local, weights_only=True)["config"]
    selected = selected_module.load_selected(
        DiskPlace(edited(trained.selected.local, config=config | {"train.device": "cuda"}))
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert selected.configure_for(None).train.device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [selected.configure_for(device).train.device for device in (None, "cpu")] == ["cuda", "cpu"]


def test_a_file_that_is_no_checkpoint_is_refused(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.pt").write_text("hello")
    for file, message in {
        "none.pt": "expected a checkpoint, found nothing at none.pt",
        "text.pt": "text.pt is not a checkpoint of this program",
        str(photos): "is not a checkpoint of this program (IsADirectoryError)",
        str(find_named_weights("imagenet", "efficientnet_lite0", 0)): "found a file that holds _conv_stem.weight",
    }.items():
        code, said = predict(capsys, photos, "--checkpoint", file)
        assert code == 2
        assert message in said


def test_the_training_state_of_a_run_under_way_is_refused(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = new_run(tmp_path / "runs", train__checkpoint_minutes=0.0)
    next(run.train())
    assert run.checkpoint.exists()
    code, said = predict(capsys, photos, "--checkpoint", run.checkpoint)
    assert code == 2
    assert "found the training state of one under way" in said


def test_weights_without_class_names_are_refused(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = edited(trained.selected.local, classes=None, flip_averaging=None)
    code, said = predict(capsys, photos, "--checkpoint", checkpoint)
    assert code == 2
    assert (
        "expected the selected weights of a finished run (selected.pt), found a file that holds model, config" in said
    )


def test_weights_that_do_not_fit_their_own_settings_are_refused_and_import_nothing(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = torch.load(trained.selected.local, weights_only=True)["config"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json").mkdir()
    for file in ("mine.py", "json/mine.py"):
        (tmp_path / file).write_text("raise SystemExit('imported')")
    for changes, message in [
        ({"classes": ["a", "b"]}, "expected the weights of a tiny with 2 classes"),
        ({"config": config | {"model.head_width": 17}}, "size mismatch for head.0.weight"),
        ({"config": config | {"method.path": "mine.py:Mine"}}, "expected an absolute path as method.path"),
        ({"config": config | {"method.path": 5}}, "cannot be used here: method.path: expected a text, found 5"),
        (
            {"config": config | {"method.path": "gone.away:Mine"}},
            "method.path: cannot import gone.away (ModuleN",
        ),
        ({"config": config | {"method.path": "mine:Mine"}}, "expected an absolute path as method.path"),
        ({"config": config | {"method.path": "json.mine:Mine"}}, "expected an absolute path as method.path"),
        ({"config": config | {"model.width": 17}}, "its settings cannot be used here: model.width: no such setting"),
    ]:
        code, said = predict(capsys, photos, "--checkpoint", edited(trained.selected.local, **changes))
        assert code == 2
        assert message in said


def test_weights_that_are_not_finite_are_refused(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(trained.selected.local, weights_only=True)["model"]
    state["encoder.conv1.weight"] = torch.full_like(state["encoder.conv1.weight"], torch.nan)
    code, said = predict(capsys, photos, "--checkpoint", edited(trained.selected.local, model=state))
    assert code == 2 and "edited.pt: expected finite weights, found nan in encoder.conv1.weight" in said


def test_images_in_shards_are_predicted_as_files_are(
    trained: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shards(tmp_path / "shards", photos)
    for folder, output in ((photos, "files.csv"), (tmp_path / "shards", "shards.csv")):
        assert predict(capsys, folder, "--checkpoint", trained.selected, "--output", output)[0] == 0
    answers = [[(row["class"], row["probability"]) for row in rows(name)] for name in ("files.csv", "shards.csv")]
    assert sorted(answers[0]) == sorted(answers[1]) and len(answers[0]) == 15
    assert rows("shards.csv")[0]["file"] == "shard-000000.tar/00000000.png"
