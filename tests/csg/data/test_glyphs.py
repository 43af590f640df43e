from __future__ import annotations

import functools
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from csg.config import DataConfig
from csg.data.pair import SOURCE_TRAIN, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.data.pairs import glyphs, nist
from csg.data.pairs.rendered import load_or_render
from csg.data.reading.cache import get_cache_folder
from csg.messages.errors import UserError
from tests.made_up_pair import labelled

FOLDER = Path(mpl.get_data_path()) / "fonts" / "ttf"
IMAGES = 205


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    return DataConfig(cache=str(tmp_path_factory.mktemp("cache")), source_images=IMAGES, image_size=32)


@pytest.fixture(scope="module")
def pair(config: DataConfig) -> Pair:
    return glyphs.load(config)


@pytest.fixture(scope="module")
def rendered() -> np.ndarray:
    return glyphs.render_split("train", 640)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    images: np.ndarray = load_digits().images
    return images


def all_images(pair: Pair, name: str) -> torch.Tensor:
    return labelled(pair, name).load_images(torch.arange(len(pair.streams[name])))


def has_ten_digits(path: Path) -> bool:
    """Whether the font maps all digits, to shapes that differ, and calls itself neither symbols nor last resort."""
    if not all(ord(digit) in FT2Font(str(path)).get_charmap() for digit in glyphs.CLASSES):
        return False
    font, shapes = ImageFont.truetype(path, 32, layout_engine=ImageFont.Layout.BASIC), set()
    for digit in glyphs.CLASSES:
        image = Image.new("1", (64, 64))
        ImageDraw.Draw(image).text((8, 8), digit, font=font, fill=1)
        shapes.add(image.tobytes())
    return len(shapes) == 10 and path.stem not in ("cmsy10", "cmex10")  # these map digits to symbols


@pytest.mark.slow
def test_every_font_of_matplotlib_with_ten_digits_is_used_once_but_for_stix() -> None:
    used = [name for split in glyphs.FONTS.values() for name in split]
    assert len(used) == len(set(used)) == 18
    digits = {path.stem for path in FOLDER.glob("*.ttf") if has_ten_digits(path)}
    assert set(used) == {name for name in digits if not name.startswith("STIX")}


def test_no_held_out_font_is_of_a_family_that_trains() -> None:
    assert all(name.startswith("cm") for name in glyphs.FONTS["val"])
    assert not any(name.startswith("cm") for name in glyphs.FONTS["train"])


def test_the_streams_have_the_sizes_that_were_asked_for(pair: Pair) -> None:
    sizes = {name: len(stream) for name, stream in pair.streams.items()}
    assert sizes.pop(TARGET_VAL) + sizes.pop(TARGET_TEST) == 1797
    assert sizes == {"source/train": IMAGES, "source/val": 320, "source/shifted": 320}
    images = all_images(pair, SOURCE_TRAIN)
    assert images.shape == (IMAGES, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert "18 fonts" in pair.description
    assert "1,797 real" in pair.description
    assert not pair.flip_averaging


@pytest.mark.parametrize("name", [SOURCE_TRAIN, SOURCE_VAL])
def test_source_classes_are_as_equal_as_can_be(pair: Pair, name: str) -> None:
    counts = torch.bincount(labelled(pair, name).labels, minlength=10)
    assert counts.max() - counts.min() <= 1


def test_target_val_and_target_test_share_no_image(pair: Pair, real: np.ndarray) -> None:
    parts = torch.cat([all_images(pair, name)[:, 0] for name in (TARGET_VAL, TARGET_TEST)])
    every = glyphs.to_images(real.astype(np.uint8), 32)
    assert sorted(image.tobytes() for image in parts.numpy()) == sorted(image.tobytes() for image in every.numpy())


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_target_part_without_all_classes_is_refused(config: DataConfig, fraction: float) -> None:
    lopsided = DataConfig(cache=config.cache, source_images=IMAGES, target_val_fraction=fraction)
    with pytest.raises(UserError, match=r"data\.target_val_fraction"):
        glyphs.load(lopsided)


@settings(max_examples=15)
@given(index=st.integers(0, 10**6), split=st.sampled_from(["train", "val"]))
def test_a_glyph_is_a_function_of_its_split_and_index(index: int, split: str) -> None:
    first, again = (nist.sense(glyphs.draw_glyph(split, index)) for _ in range(2))
    assert np.array_equal(first, again)


def test_more_source_images_leave_the_first_ones_as_they_are(rendered: np.ndarray) -> None:
    assert np.array_equal(glyphs.render_split("train", 40), rendered[:40])


def test_rendering_again_gives_the_same_pair(pair: Pair, tmp_path: Path) -> None:
    rebuilt = glyphs.load(DataConfig(cache=str(tmp_path), source_images=IMAGES, image_size=32))
    assert rebuilt.fingerprint == pair.fingerprint


def test_rendered_and_real_digits_fill_the_frame_alike(rendered: np.ndarray, real: np.ndarray) -> None:
    assert (rendered.max(axis=2) > 0).mean() > 0.99  # all eight rows, as the real ones
    peaks = [images.max(axis=1).mean(axis=0) for images in (rendered, real)]  # by column
    assert np.abs(peaks[0] - peaks[1]).max() < 2.5
    assert abs(np.median(rendered.sum(axis=(1, 2))) - np.median(real.sum(axis=(1, 2)))) < 25


def test_rendered_and_real_digits_have_the_same_histogram_of_grey_values(
    rendered: np.ndarray, real: np.ndarray
) -> None:
    shares = [np.bincount(images.astype(int).ravel(), minlength=17) / images.size for images in (rendered, real)]
    assert np.abs(shares[0] - shares[1]).max() < 0.04
    assert shares[0].shape == (nist.LEVELS,)


@given(height=st.integers(1, 90), width=st.integers(1, 90), above=st.integers(0, 20), before=st.integers(0, 20))
def test_ink_of_any_size_and_place_is_stretched_to_the_middle_twenty_columns(
    height: int, width: int, above: int, before: int
) -> None:
    bitmap = nist.normalise_size(np.pad(np.ones((height, width), dtype=np.bool_), ((above, 3), (before, 2))))
    assert bitmap.shape == (32, 32)
    assert bitmap[:, 6:26].all()
    assert not bitmap[:, :6].any()
    assert not bitmap[:, 26:].any()


def test_an_empty_bitmap_is_refused() -> None:
    with pytest.raises(ValueError, match="expected ink"):
        nist.sense(np.zeros((9, 9), dtype=np.bool_))


def test_a_glyph_without_visible_strokes_is_refused() -> None:
    specks = np.zeros((1, 41), dtype=np.bool_)
    specks[0, [0, 40]] = True
    with pytest.raises(ValueError, match="found only specks"):
        nist.sense(specks)


def test_size_normalisation_forgets_place_and_whole_scale() -> None:
    glyph = np.zeros((16, 10), dtype=np.bool_)
    glyph[:, 4:6] = glyph[7:9] = True
    moved = np.pad(glyph.repeat(4, axis=0).repeat(6, axis=1), ((3, 40), (17, 0)))
    assert np.array_equal(nist.normalise_size(glyph), nist.normalise_size(moved))


def test_the_sensor_straightens_a_slanted_stroke() -> None:
    slanted = np.zeros((32, 32), dtype=np.bool_)
    for row in range(32):
        slanted[row, 20 - row // 3 : 24 - row // 3] = True
    left = nist.deslant(slanted).argmax(axis=1)
    assert left.max() - left.min() <= 1


@pytest.mark.parametrize(("width", "direction"), [(1, 1), (5, 1), (16, 0), (19, -1), (32, -1)])
def test_the_sensor_thickens_thin_strokes_and_thins_thick_ones(width: int, direction: int) -> None:
    bitmap = np.zeros((32, 32), dtype=np.bool_)
    bitmap[4:28, :width] = True
    assert np.sign(int(nist.normalise_strokes(bitmap).sum()) - int(bitmap.sum())) == direction


def test_a_damaged_cache_file_is_rendered_again(tmp_path: Path) -> None:
    path, shapes = tmp_path / "new" / "folder" / "glyphs.npz", {"train": (4, 8, 8), "val": (2, 8, 8)}
    renders: list[str] = []

    def render(split: str) -> np.ndarray:
        renders.append(split)
        return np.full(shapes[split], 7, dtype=np.uint8)

    load_or_render(path, shapes=shapes, render=render)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"\x07\x07")] ^= 1
    for damage in (b"", b"not a zip file", whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(damage)
        renders.clear()
        assert all((array == 7).all() for array in load_or_render(path, shapes=shapes, render=render).values())
        assert renders == ["train", "val"]
        assert path.read_bytes() == whole
    load_or_render(path, shapes=shapes, render=render)
    assert renders == ["train", "val"]  # not once more
    assert list(path.parent.iterdir()) == [path]


def blank(shape: tuple[int, ...], _: str) -> np.ndarray:
    return np.zeros(shape, dtype=np.uint8)


def test_a_cache_file_with_other_shapes_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "glyphs.npz"
    for shape in ((3, 8, 8), (5, 8, 8)):
        render = functools.partial(blank, shape)
        assert load_or_render(path, shapes={"train": shape}, render=render)["train"].shape == shape


def test_loads_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    path, shape = tmp_path / "glyphs.npz", (50, 8, 8)
    with ThreadPoolExecutor(8) as pool:
        load = functools.partial(load_or_render, path, shapes={"train": shape}, render=functools.partial(blank, shape))
        loads = [pool.submit(load) for _ in range(40)]
    assert all(np.array_equal(done.result()["train"], blank(shape, "train")) for done in loads)
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_load_renders_nothing_and_does_without_scikit_learn(
    config: DataConfig, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glyphs, "render_split", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert glyphs.load(config).fingerprint == pair.fingerprint


def test_another_number_of_images_has_a_cache_file_of_its_own(config: DataConfig, pair: Pair) -> None:
    more = glyphs.load(DataConfig(cache=config.cache, source_images=IMAGES + 1, image_size=32))
    assert len(more.streams[SOURCE_TRAIN]) == len(pair.streams[SOURCE_TRAIN]) + 1
    assert len(list(get_cache_folder(config).iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"data\.cache: cannot write .*file/cache.*choose another"):
        glyphs.load(DataConfig(cache=str(tmp_path / "file" / "cache"), source_images=10))
