"""Every kind of image becomes the same kind of tensor; what is no image is named, never guessed."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from csg.data.fault import BadImageError
from csg.data.reading.decoding import Inspection, decode, inspect, read_bytes, read_resized
from csg.data.reading.listing import list_image_files
from csg.messages.errors import UserError


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 40)], axis=2).astype(np.uint8))


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (64, 64), (20, 31), (3, 2)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".bmp", ".webp", ".tif"])
def test_an_image_of_any_size_and_format_becomes_a_square(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    gradient(*size).save(path)
    image = decode(path, 32)
    assert image.shape == (3, 32, 32) and image.dtype == torch.uint8
    whole = read_resized(path, 32)[0]
    assert min(whole.shape[1:]) == 32
    assert max(whole.shape[1:]) == max(32, round(32 * max(size) / min(size)))
    assert list_image_files(tmp_path) == [path]


def test_the_middle_is_cut_out_of_the_resized_image(tmp_path: Path) -> None:
    gradient(128, 64).save(tmp_path / "image.png")
    expected = np.asarray(gradient(128, 64).resize((64, 32), Image.Resampling.BILINEAR))[:, 16:48]
    assert np.array_equal(decode(tmp_path / "image.png", 32).permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I"])
def test_what_is_not_rgb_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode in ("CMYK", "I") else "image.png")
    value = 255 if mode == "1" else 129
    grey = np.full((40, 40), value, dtype=np.uint8)
    if mode.startswith("I"):
        image = Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else np.int32) * 256 + 77)
    else:
        colours = Image.fromarray(grey).convert("RGB")
        image = colours.quantize(4) if mode == "P" else colours.convert(mode)
    assert image.mode == mode
    image.save(path)
    assert torch.equal(decode(path, 32), torch.full((3, 32, 32), value, dtype=torch.uint8))


def test_a_transparent_image_lies_over_black(tmp_path: Path) -> None:
    pixels = np.full((32, 32, 4), 200, dtype=np.uint8)
    pixels[:16, :, 3], pixels[16:, :, 3] = 0, 255
    Image.fromarray(pixels).save(tmp_path / "image.png")
    image = decode(tmp_path / "image.png", 32)
    assert image[:, :16].max() == 0 and image[:, 16:].min() == 200


def test_a_photograph_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored image has to be turned clockwise
    gradient(96, 64).save(tmp_path / "image.jpg", exif=exif)
    image = read_resized(tmp_path / "image.jpg", 32)[0]
    assert image.shape == (3, 48, 32)
    assert image[0, -1].float().mean() > image[0, 0].float().mean() + 100


def plant(path: Path, fault: str) -> None:
    gradient(80, 60).save(path)
    content = path.read_bytes()
    if fault == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif fault == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "text":
        path.write_text("not an image")
    elif fault == "absent":
        path.unlink()
    elif fault == "folder":
        path.unlink()
        path.mkdir()
    elif fault == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif fault == "thin":
        gradient(80, 1).save(path)


@pytest.mark.parametrize(
    ("name", "fault", "reason"),
    [
        ("a.png", "truncated", "damaged file"),
        ("a.jpg", "truncated", "damaged file"),
        ("a.webp", "truncated", "damaged file"),
        ("a.png", "flipped", "damaged file"),
        ("a.png", "empty", "an empty file"),
        ("a.png", "text", "another kind of file that begins with b'not an image'"),
        ("a.png", "absent", "no such file"),
        ("a.png", "folder", "a folder"),
        ("a.png", "pipe", "a pipe or a device"),
        ("a.png", "thin", "80x1 pixels"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_reason(tmp_path: Path, name: str, fault: str, reason: str) -> None:
    plant(tmp_path / name, fault)
    with pytest.raises(BadImageError, match=reason) as caught:
        decode(tmp_path / name, 32)
    assert caught.value.path == str(tmp_path / name) and str(tmp_path / name) in str(caught.value)
    copied = copy.copy(caught.value)  # by __reduce__, as an error crosses to another process
    assert str(copied) == str(caught.value)
    with pytest.raises(BadImageError):
        inspect(tmp_path / name, read_bytes(tmp_path / name))


def test_inspecting_returns_the_size_on_disk(tmp_path: Path) -> None:
    gradient(300, 200).save(tmp_path / "a.jpg")
    found = inspect(tmp_path / "a.jpg", read_bytes(tmp_path / "a.jpg"))
    assert found == Inspection((300, 200), several_frames=False)


def test_listing_follows_links_once_and_leaves_hidden_and_other_files_out(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "images", tmp_path / "else where"
    for path in (folder / "b" / "1.PNG", folder / "a" / "ü 2.jpg", folder / ".c" / "3.png", elsewhere / "4.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "a" / "._2.jpg").touch()
    (folder / "a" / "notes.txt").touch()
    (folder / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    assert [str(path.relative_to(folder)) for path in list_image_files(folder)] == [
        "a/ü 2.jpg",
        "b/1.PNG",
        "link/4.png",
    ]
    with pytest.raises(UserError, match="expected a folder with images, found nothing"):
        list_image_files(tmp_path / "none")
