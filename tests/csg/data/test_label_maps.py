"""Ids become classes by Cityscapes' table, and by nothing else."""

from __future__ import annotations

import math
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from csg.data.maps.crops import GREY, SCALES, centre_crop, make_tensors, random_crop
from csg.data.maps.label_maps import (
    CLASSES,
    DEFINED_IDS,
    LABEL_IDS,
    TRAIN_IDS,
    VOID,
    BadMapError,
    Bytes,
    UnknownIdError,
    read_ids,
)
from csg.data.pair import IGNORED
from csg.randomness import make_generator
from tests.published_maps import IDS


def class_map(path: Path | str, content: bytes, table: Bytes) -> Bytes:
    return read_ids(path, content).look_up_classes(table)


def png(ids: np.ndarray, mode: str = "L") -> bytes:
    image, file = Image.fromarray(ids.astype(np.uint8)), BytesIO()
    if mode == "P":
        image.putpalette(make_generator(0, "colours").integers(0, 256, size=768).tolist())
    (image if mode in ("L", "P") else image.convert(mode)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("one", range(256))
def test_each_id_is_its_class_or_void_or_an_error_that_names_file_and_id(one: int, mode: str) -> None:
    content = png(np.array([[7, one]]), mode)
    if one in DEFINED_IDS:
        expected = IDS.index(one) if one in IDS else VOID
        assert class_map("a/b.png", content, LABEL_IDS).tolist() == [[0, expected]]
    else:
        with pytest.raises(UnknownIdError, match=rf"a/b\.png: expected a label map, found ids .*: {one}$"):
            class_map("a/b.png", content, LABEL_IDS)


@pytest.mark.parametrize("one", range(256))
def test_train_ids_are_the_classes_themselves(one: int) -> None:
    content = png(np.array([[one]]))
    if one < 19 or one == 255:
        assert class_map("b.png", content, TRAIN_IDS).tolist() == [[one]]
    else:
        with pytest.raises(UnknownIdError, match=rf"labelTrainIds do not have: {one}$"):
            class_map("b.png", content, TRAIN_IDS)


@given(ids=st.lists(st.lists(st.sampled_from(DEFINED_IDS), min_size=5, max_size=5), min_size=1, max_size=6))
def test_a_map_keeps_its_shape_and_its_table_is_applied_pixel_by_pixel(ids: list[list[int]]) -> None:
    found = class_map("b.png", png(np.array(ids)), LABEL_IDS)
    assert found.tolist() == [[IDS.index(one) if one in IDS else VOID for one in row] for row in ids]


def test_the_nineteen_classes_are_those_of_the_benchmark() -> None:
    assert len(CLASSES) == 19 == len(set(CLASSES))
    assert [CLASSES[LABEL_IDS[one]] for one in (7, 8, 23, 24, 26, 33)] == [
        *("road", "sidewalk", "sky", "person", "car", "bicycle")
    ]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "I;16"])
def test_pixels_that_are_no_ids_are_refused(mode: str) -> None:
    with pytest.raises(BadMapError, match=rf"b\.png: expected a label map, found pixels of mode {mode}, not ids"):
        class_map("b.png", png(np.zeros((40, 40)), mode), LABEL_IDS)


def coordinates(width: int, height: int, axis: int) -> tuple[Image.Image, np.ndarray]:
    """An image whose red and green tell column and row, and a map whose class is the column (0) or the row (1)."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([2 * x, 2 * y, np.full_like(x, 200)], axis=2).astype(np.uint8)
    return Image.fromarray(pixels), (x, y)[axis].astype(np.uint8)


@settings(max_examples=150)
@given(
    width=st.integers(20, 120),
    height=st.integers(20, 120),
    side=st.integers(16, 128),
    seed=st.integers(0, 2**32 - 1),
    mirror=st.booleans(),
    axis=st.sampled_from([0, 1]),
)
def test_a_crops_labels_are_those_of_its_pixels(
    width: int, height: int, side: int, seed: int, mirror: bool, axis: int
) -> None:
    picture, classes = coordinates(width, height, axis)
    pixels, labels = random_crop(picture, classes, side, np.random.default_rng(seed), mirror=mirror)
    assert pixels.shape == (3, side, side) and pixels.dtype == torch.uint8
    assert labels.shape == (side, side) and labels.dtype == torch.int64
    inside = labels != IGNORED
    assert inside.any()
    # Bilinear and nearest places differ by up to a pixel of the image at the coarsest scale.
    assert (pixels[axis][inside] / 2 - labels[inside]).abs().max() <= 1
    assert torch.equal(inside, pixels[2] != GREY[2])
    assert torch.equal(
        pixels[:, ~inside], torch.tensor(GREY, dtype=torch.uint8)[:, None].expand(-1, int((~inside).sum()))
    )
    rows, columns = inside.any(dim=1).sum(), inside.any(dim=0).sum()
    assert int(inside.sum()) == rows * columns
    fits = {(min(side, round(scale * height)), min(side, round(scale * width))) for scale in SCALES}
    assert (int(rows), int(columns)) in fits


def test_all_scales_places_and_both_directions_occur() -> None:
    picture, classes = coordinates(100, 100, 0)
    crops = [random_crop(picture, classes, 40, make_generator(seed, "test"), mirror=True)[1] for seed in range(300)]
    steps = [int(crop[0, -1] - crop[0, 0]) for crop in crops]
    counts = {scale: sum(abs(abs(step) - 39 / scale) <= 1 for step in steps) for scale in SCALES}
    assert sum(counts.values()) == 300 and min(counts.values()) > 70
    assert 110 < sum(step < 0 for step in steps) < 190
    smallest = [int(crop.min()) for crop in crops]
    assert min(smallest) == 0 and max(int(crop.max()) for crop in crops) == 99 and len(set(smallest)) > 40
    plain = [random_crop(picture, classes, 40, make_generator(seed, "test"), mirror=False)[1] for seed in range(60)]
    assert all(int(crop[0, -1] - crop[0, 0]) > 0 for crop in plain)


def test_a_centre_crop_is_the_middle_at_the_images_own_size() -> None:
    picture, classes = coordinates(60, 90, 1)
    pixels, labels = make_tensors(picture, classes)
    cut_pixels, cut_labels = centre_crop(picture, classes, 40)
    assert torch.equal(cut_pixels, pixels[:, 25:65, 10:50]) and torch.equal(cut_labels, labels[25:65, 10:50])
    wide_pixels, wide_labels = centre_crop(picture, classes, 80)
    assert torch.equal(wide_labels[:, 10:70], labels[5:85]) and (wide_labels[:, :10] == IGNORED).all()
    assert torch.equal(wide_pixels[:, :, 10:70], pixels[:, 5:85])


def test_a_scaled_crop_is_cut_out_of_the_scaled_image() -> None:
    rng = make_generator(0, "noise")
    picture = Image.fromarray(rng.integers(0, 256, (80, 96, 3), dtype=np.uint8))
    classes = rng.integers(0, 19, (80, 96), dtype=np.uint8)
    for seed in range(20):
        pixels, labels = random_crop(picture, classes, 48, make_generator(seed, "test"), mirror=False)
        draws = make_generator(seed, "test")
        scale = SCALES[draws.integers(3)]
        width, height = round(96 * scale), round(80 * scale)
        left, top = (int(draws.integers(length - 48 + 1)) for length in (width, height))
        scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
        rows, columns = (
            [math.floor((place + Fraction(1, 2)) * length / whole) for place in range(whole)]
            for length, whole in ((80, height), (96, width))
        )
        expected, wanted = make_tensors(scaled, classes[np.ix_(rows, columns)])
        window = np.s_[top : top + 48, left : left + 48]
        assert (pixels.int() - expected[:, window[0], window[1]].int()).abs().max() <= 2  # two passes, each rounded
        assert torch.equal(labels, wanted[window])


def test_png_files_whose_ids_are_unknown_name_them_all(tmp_path: Path) -> None:
    content = png(np.arange(256).reshape(16, 16))
    with pytest.raises(UnknownIdError, match=r"labelIds do not have: 35, 36, 37, 38, 39, 40, 41, 42 and more"):
        class_map(tmp_path / "b.png", content, LABEL_IDS)
