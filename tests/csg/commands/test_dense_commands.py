"""Commands on a finished segmentation: class maps of a folder's images, and the model as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from csg import cli
from csg.tasks import find_task
from csg.tasks.measurement import Inference
from csg.training.run import Run
from tests.csg.commands.test_cli import run as run_command
from tests.csg.commands.test_export import answers, export
from tests.csg.commands.test_predict import predict
from tests.finished_run import finished_run
from tests.made_up_pair import TINY
from tests.made_up_scenes import made_up_scenes
from tests.published_maps import plant_map_fault, write_cityscapes, write_gta5, write_maps

SCENES = {"data__name": "glyph_scenes", "data__source_images": 24, "data__window": 40, "train__epochs": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("runs"), made_up_scenes(), **SCENES)


def test_maps_are_those_of_an_evaluation_and_a_bad_image_has_none(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images = trained.pair.streams["target/test"].read(torch.arange(3)).views[0]
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / "deep" / f"{number}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    code, said = predict(capsys, "photos", "--checkpoint", trained.selected)
    assert code == 1 and "broken.png" in said and "3 of 4 images are classified: predictions" in said
    inference = Inference(trained.load_selected_model(), trained.config)
    expected = find_task(trained.config.data).predict(inference, trained.config, images)
    written = [np.asarray(Image.open(f"predictions/deep/{number}.png.png")) for number in range(3)]
    assert np.array_equal(np.stack(written), expected.numpy())
    assert {path.name for path in Path("predictions").rglob("*.png")} == {f"{number}.png.png" for number in range(3)}


def test_a_map_is_of_the_image_as_a_viewer_shows_it(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    (image,) = trained.pair.streams["target/test"].read(torch.arange(1)).views[0]
    upright = Image.fromarray(image.permute(1, 2, 0).numpy()).convert("RGBA").crop((0, 0, 32, 24))
    upright.save("photos/upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save("photos/turned.png", exif=exif)
    upright.save("photos/moving.gif", save_all=True, append_images=[upright.rotate(180)])
    code, said = predict(capsys, "photos", "--checkpoint", trained.selected)
    assert code == 0 and "1 image has several frames or pages, of which the first is used" in said
    turned, expected = (np.asarray(Image.open(f"predictions/{name}.png.png")) for name in ("turned", "upright"))
    assert turned.shape == (24, 32) and np.array_equal(turned, expected)


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["pt2", "onnx"])
def test_the_written_file_answers_for_every_pixel(
    trained: Run,
    extension: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = export(capsys, "--checkpoint", trained.selected, "--output", f"model.{extension}")
    assert code == 0 and "probabilities (N, 3, 40, 40)" in said, "of a window, whatever is trained on"
    images = trained.pair.streams["target/test"].read(torch.arange(2)).views[0][..., :40]
    inference = Inference(trained.load_selected_model(), trained.config)
    expected = inference(inference.prepare_input(images)).logits.softmax(dim=1)
    torch.testing.assert_close(answers(f"model.{extension}", images.float()), expected, atol=1e-4, rtol=0)


PLAIN = ("--train.channels-last", "False")
"""Of maps as large as these, torch 2.13's convolutions to the tiny encoder's 8 channels corrupt memory with it."""


def train_on_tree(root: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    folders = ("--data.name", "gta5_cityscapes", "--data.source", str(root / "gta5"), "--data.target")
    few = {"train.batch_size": 2, "train.epochs": 1, "data.source_val_fraction": 0.4, "method.chunks": 4}
    settings = {name: value for name, value in {**TINY, **few}.items() if name != "data.source_images"}
    tiny = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    command = ["train", *folders, str(root / "cityscapes"), *tiny, "--train.output", str(root / "runs"), *flags]
    return run_command(cli.main, [*command, "--tracking-uri", "none", "--data.target-val-fraction", "0.5"], capsys)


def test_a_published_tree_trains_and_what_is_wrong_in_it_is_left_out_or_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_maps(tmp_path)
    plant_map_fault(tmp_path, "size of a GTA5 label")
    code, said = train_on_tree(tmp_path, capsys)
    assert code == 0, said
    assert "real mean IoU" in said
    (record,) = (path.read_text() for path in tmp_path.rglob("record.json"))
    for figure in ("mean_iou", "pixel_accuracy", "class_iou/traffic light", "E0_mhe"):
        assert f'"target/test/{figure}"' in record
    assert "00002.png" in caplog.text, "a pair of different sizes is left out, and said to be"
    code, said = train_on_tree(tmp_path / "nowhere", capsys)
    assert code == 2 and "data.source: expected" in said


@pytest.mark.slow
def test_images_of_the_published_sizes_train_and_are_evaluated_in_windows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gta5(tmp_path / "gta5", images=4, size=(1914, 1052))
    write_cityscapes(tmp_path / "cityscapes", train=2, val=2, size=(2048, 1024))
    code, said = train_on_tree(tmp_path, capsys, "--data.image-size", "256", "--data.window", "1024", *PLAIN)
    assert code == 0, said
    (run,) = (tmp_path / "runs" / "trained").iterdir()
    confusions = np.load(run / "test_outputs.npz")["confusions"]
    assert confusions.shape == (2, 19, 19) and confusions.sum() <= 2 * 2048 * 1024
    pictures = np.load(run / "test_pictures.npz")
    assert pictures["images"].shape == (2, 3, 256, 512) and pictures["predicted"].shape == (2, 256, 512)
