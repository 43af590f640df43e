"""Commands on a finished segmentation: class maps of a folder's images, and the model as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from csg.tasks import task_of
from csg.tasks.measurement import Inference
from csg.training.run import Run
from tests.finished_run import finished_run
from tests.made_up_scenes import made_up_scenes
from tests.test_export import export
from tests.test_predict import predict

SCENES = {"data__name": "glyph_scenes", "data__source_images": 24, "data__window": 32, "train__epochs": 1}


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
    inference = Inference(trained.selected_model(), trained.config)
    expected = task_of(trained.config.data).predicted(inference, trained.config, images)
    written = [np.asarray(Image.open(f"predictions/deep/{number}.png.png")) for number in range(3)]
    assert np.array_equal(np.stack(written), expected.numpy())
    assert {path.name for path in Path("predictions").rglob("*.png")} == {f"{number}.png.png" for number in range(3)}


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
    assert code == 0 and "probabilities (N, 3, 32, 32)" in said, said
