"""``csg predict`` says which files it passes over, and sees images as training does: upright, and up to a limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from csg import cli
from csg.data.pair import TARGET_TEST
from csg.training.run import Run
from tests.csg.commands.test_predict import predict, rows
from tests.made_up_pair import labelled


def test_what_is_passed_over_is_counted_and_frames_are_reported(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime")]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(photos / "photo.jfif", "JPEG")
    for name in ("notes.txt", "photo", "a/1.JXL", "a/@eaDir/1.jpg/thumb.jpg", "@eaDir/2.jpg", "Thumbs.db"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    code, said = predict(capsys, photos, "--checkpoint", trained.selected)
    assert code == 0 and "17 of 17 images are classified" in said
    for line in (
        "6 files are not used:",
        "1 .jxl (a format that Pillow reads only with a plug-in), such as a/1.JXL",
        "1 .txt (no image format that is read), such as notes.txt",
        "1 without suffix (no suffix says what it is), such as photo",
        "2 .jpg (hidden, or kept by a system for itself), such as @eaDir/2.jpg",
        "1 image has several frames or pages, of which the first is used",
    ):
        assert line in said
    (photos / "other").mkdir()
    (photos / "other" / "1.jxl").touch()
    code, said = predict(capsys, photos / "other", "--checkpoint", trained.selected)
    assert code == 2 and "found none; 1 file is not used: 1 .jxl" in said


def test_a_pipe_among_images_is_named_and_not_waited_for(
    trained: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(photos / "pipe.png")
    code, said = predict(capsys, photos, "--checkpoint", trained.selected)
    assert code == 1 and "pipe.png: expected an image, found a pipe or a device" in said
    assert "15 of 16 images are classified" in said


def test_orientation_and_the_limit_of_pixels_are_those_of_training(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    shown = Image.fromarray(
        labelled(trained.pair, TARGET_TEST).load_images(torch.tensor([3]))[0].permute(1, 2, 0).numpy()
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    of_bytes = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\7\0\1\0\0\0" + b"6\0\0\0" * 2
    shown.convert("RGBA").transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    shown.save(folder / "bytes.png", exif=of_bytes)
    shown.save(folder / "upright.png")
    Image.new("L", (10_000, 9_500)).save(folder / "large.jpg")
    assert predict(capsys, folder, "--checkpoint", trained.selected)[0] == 0
    found = {row["file"]: (row["class"], row["probability"]) for row in rows()}
    assert found["turned.png"] == found["upright.png"] == found["bytes.png"] and len(found) == 4
    code = cli.main(["predict", str(folder), "--checkpoint", str(trained.selected), "--max-megapixels", "90"])
    printed = capsys.readouterr()
    assert code == 1 and "3 of 4 images are classified" in printed.out
    assert "large.jpg: expected an image, found 10,000x9,500 pixels, more than the 90 megapixels that" in printed.err
    assert "--max-megapixels admits; raise it to 95, or reduce the image" in printed.err
    assert not [warning for warning in recwarn if "bomb" in str(warning.message)]
    code, said = predict(capsys, folder, "--checkpoint", trained.selected, "--max-megapixels", "0")
    assert code == 2 and "--max-megapixels: expected at least 1, found 0" in said
