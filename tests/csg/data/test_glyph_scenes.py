"""A scene is a function of its number, a pixel's class that of the digit on top; val and test share nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import datasets

from csg.config import DataConfig
from csg.data import mnist_scenes
from csg.data.maps.stream import ArrayMapStream
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, TARGET_TEST, Pair
from csg.data.pairs import backgrounds, glyph_scenes, glyphs, plates
from csg.data.pairs.glyph_scenes import CLASSES, SCENES, SIDE, Rendering
from csg.data.pairs.plates import Digit, compose
from csg.messages.errors import UserError
from csg.randomness import make_generator

IMAGES = 24


def config(cache: Path, **settings: object) -> DataConfig:
    chosen = {"name": "glyph_scenes", "cache": str(cache), "source_images": IMAGES} | settings
    return DataConfig(**chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def pair(cache: Path) -> Pair:
    return glyph_scenes.load(config(cache))


@pytest.fixture(scope="module")
def rendering() -> Rendering:
    return Rendering.of(0.3)


def test_the_streams_have_whole_scenes_with_eleven_classes(pair: Pair) -> None:
    assert pair.classes == ("background", *"0123456789") and not pair.flip_averaging
    assert {name: len(held) for name, held in pair.streams.items()} == {
        SOURCE_TRAIN: IMAGES,
        SOURCE_SHIFTED: 96,
        **SCENES,
    }
    for name, held in pair.streams.items():
        reading = held.read(torch.arange(len(held)))
        assert reading.views[0].shape == (len(held), 3, SIDE, SIDE) and reading.views[0].dtype == torch.uint8
        assert reading.labels.shape == (len(held), SIDE, SIDE) and reading.labels.dtype == torch.int64
        shares = torch.bincount(reading.labels.flatten(), minlength=11) / reading.labels.numel()
        assert len(shares) == 11 and 0.45 < shares[0] < 0.7, name
        assert (shares > 0).all(), name
    assert sum(len(held) for held in pair.streams.values()) == IMAGES + 96 + 96 + 96 + 192
    assert config(Path("x"), source_images=None).source_images_asked == 1280


def test_crops_have_the_side_that_was_asked_for_and_are_never_mirrored(cache: Path, pair: Pair) -> None:
    held = pair.streams[SOURCE_TRAIN]
    reading = held.read_crops(torch.arange(8), seed=0, epoch=0, views=2)
    assert reading.views[0].shape == (8, 3, 64, 64) and reading.labels.shape == (8, 64, 64)
    assert reading.views[0] is reading.views[1]
    middle = slice((SIDE - 32) // 2, (SIDE + 32) // 2)
    smaller = glyph_scenes.load(config(cache, image_size=32)).streams[SOURCE_TRAIN]
    assert torch.equal(
        smaller.read_centre(torch.tensor([2])).labels[0], held.read(torch.tensor([2])).labels[0, middle, middle]
    )
    assert isinstance(held, ArrayMapStream) and not held._mirror


def test_rendering_again_gives_the_same_pair_and_more_images_leave_the_first_as_they_are(
    pair: Pair, tmp_path: Path
) -> None:
    more = glyph_scenes.load(config(tmp_path, source_images=IMAGES + 2))
    first = torch.arange(IMAGES)
    one, other = (held.streams[SOURCE_TRAIN].read(first) for held in (pair, more))
    assert torch.equal(one.views[0], other.views[0]) and torch.equal(one.labels, other.labels)
    assert all(
        held.fingerprint == more.streams[name].fingerprint
        for name, held in pair.streams.items()
        if name != SOURCE_TRAIN
    )
    assert more.streams[SOURCE_TRAIN].fingerprint != pair.streams[SOURCE_TRAIN].fingerprint


def test_a_second_load_renders_nothing_and_does_without_scikit_learn(
    pair: Pair, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rendering, "compose_scene", None)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "sklearn.datasets", None)
        assert glyph_scenes.load(config(cache)).fingerprint == pair.fingerprint
    with pytest.raises(TypeError):
        glyph_scenes.load(config(cache, target_val_fraction=0.5))


def test_val_and_test_share_neither_digits_nor_pixels_of_a_photograph(rendering: Rendering) -> None:
    val, test = (set(rendering.handwritten[split].tolist()) for split in ("target_val", "target_test"))
    assert not val & test and val | test == set(range(1797))
    for number, whole in enumerate(datasets.load_sample_images().images):
        learned = backgrounds.load_photographs("pretraining")[number]
        left, right = (rendering.photographs[split][number] for split in ("target_val", "target_test"))
        assert np.array_equal(np.concatenate([left, learned, right], axis=1), whole)
        assert min(part.shape[1] for part in (left, learned, right)) >= backgrounds.CUT[1]


def test_a_background_has_pixels_of_its_own_third_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    thirds = np.zeros((427, 640, 3), dtype=np.uint8)
    thirds[:, 213:427], thirds[:, 427:] = 100, 200
    Image.fromarray(thirds).save(tmp_path / "thirds.png")
    monkeypatch.setattr(backgrounds, "find_photographs", lambda: [tmp_path / "thirds.png"])
    monkeypatch.setattr(glyph_scenes, "compose", lambda background, *_: background)
    rendering = Rendering.of(0.3)
    for split, value in (("target_val", 0), ("target_test", 200)):
        scenes = rendering.compose_scenes(split, 30)
        assert scenes.shape == (30, SIDE, SIDE, 3) and (scenes == value).all()
    ink = np.pad(np.ones((20, 8)), ((4, 4), (10, 10)))
    learned = backgrounds.load_photographs("pretraining")
    images = np.stack([mnist_scenes.compose_image(ink, learned, make_generator(0, number)) for number in range(30)])
    assert images.shape == (30, mnist_scenes.SIDE, mnist_scenes.SIDE, 3)
    assert (images[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 100).all(), "a plate's corners are round"
    assert (images != 100).any(axis=(1, 2, 3)).all()


def test_the_faint_ink_of_a_coarse_digit_is_seen() -> None:
    ink = np.pad(np.full((20, 8), 0.25), ((4, 4), (10, 10)))
    learned = backgrounds.load_photographs("pretraining")
    faint, full = (mnist_scenes.compose_image(each, learned, make_generator(0, 1)) for each in (ink, 4 * ink))
    assert np.array_equal(faint, full)


@given(top=st.integers(0, 27), left=st.integers(0, 27), height=st.integers(1, 28), width=st.integers(1, 28))
def test_the_square_around_a_digit_holds_all_its_ink_and_is_the_smallest(
    top: int, left: int, height: int, width: int
) -> None:
    digit = np.zeros((28, 28))
    digit[top : top + height, left : left + width] = 1
    square = mnist_scenes.cut_square(digit)
    assert square.shape == (max(digit.any(axis=1).sum(), digit.any(axis=0).sum()),) * 2
    assert square.sum() == digit.sum()


def test_synthetic_digits_have_the_fonts_of_their_stream(rendering: Rendering, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, int]] = []
    draw_glyph = glyphs.draw_glyph

    def recording(split: str, index: int) -> np.ndarray:
        drawn.append((split, index))
        return draw_glyph(split, index)

    monkeypatch.setattr(glyphs, "draw_glyph", recording)
    for split in ("source_train", "source_val"):
        drawn.clear()
        scene = rendering.compose_scene(split, 3)
        assert {fonts for fonts, _ in drawn} == {split.removeprefix("source_")}
        assert 1 <= len(drawn) <= 2
        assert set(np.unique(scene[..., 3]).tolist()) <= {0, *(1 + index % 10 for _, index in drawn)}
    drawn.clear()
    rendering.compose_scene("target_val", 0)
    assert not drawn


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(1, 4))
def test_a_pixel_is_of_the_topmost_plate_that_covers_half_of_it(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    grey = np.full((SIDE, SIDE, 3), 128.0)
    digits = [Digit(1 + place, rng.random((int(rng.integers(20, 31)), 18))) for place in range(number)]
    places = make_generator(seed, "places")
    whole = compose(grey, digits, make_generator(seed, "places"))
    # The same draws, digit by digit: each call lays one more on what is there.
    expected = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for digit in digits:
        mask = digit.plate >= 0.5
        top, left = plates._place(mask, expected, places)
        for _ in ("plate", "ink"):
            places.uniform(0, 255, size=(plates.TRIES, 3))
        for row, column in zip(*np.nonzero(mask), strict=True):
            expected[top + row, left + column] = digit.label
    assert np.array_equal(whole[..., 3], expected)
    assert (whole[..., :3][whole[..., 3] > 0] != 128).any()


@pytest.mark.parametrize("split", ["source_train", "source_val", "target_val", "target_test"])
def test_a_plate_differs_in_brightness_from_what_surrounds_it(rendering: Rendering, split: str) -> None:
    differences = []
    for index in range(20):
        scene = rendering.compose_scene(split, index)
        luminance = scene[..., :3] @ plates.LUMINANCE
        for label in set(np.unique(scene[..., 3]).tolist()) - {0}:
            rows, columns = np.nonzero(scene[..., 3] == label)
            around = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            mask = scene[around][..., 3] == label
            differences.append(
                abs(luminance[around][mask].mean() - luminance[around][scene[around][..., 3] == 0].mean())
            )
    assert np.median(differences) > 40
    assert np.mean(np.array(differences) > 20) > 0.8


def test_handwriting_and_glyphs_become_opaque_strokes_of_the_height_that_was_asked_for(rendering: Rendering) -> None:
    for index in range(30):
        for height in (20, 25, 30):
            written = plates.enlarge_alpha(rendering.digits[index], height)
            drawn = plates.render_alpha(glyphs.draw_glyph("train", index), height)
            for alpha in (written, drawn):
                assert alpha.shape[0] == height and 1 <= alpha.shape[1] <= SIDE
                assert alpha.min() >= 0 and alpha.max() == 1
                assert 0.2 < (alpha >= 0.5).mean() < 0.95


def test_ink_lies_in_the_middle_of_its_plate() -> None:
    for height, width in ((20, 4), (25, 18), (30, 31)):
        digit = Digit(1, np.ones((height, width)))
        plate, ink = digit.plate, digit.ink_on_plate
        assert plate.shape == ink.shape and (plate.min(), plate.max()) == (0, 1)
        assert plate.shape[0] == round(1.5 * height) and plate.shape[1] >= 1.5 * width - 1
        rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
        for places, length in ((rows, plate.shape[0]), (columns, plate.shape[1])):
            assert abs(places[0] - (length - 1 - places[-1])) <= 1


def test_the_four_made_up_backgrounds_all_occur_and_differ() -> None:
    for make in backgrounds.MADE_UP:
        colours = make(SIDE, make_generator(0, "test"))
        assert colours.shape == (SIDE, SIDE, 3) and colours.min() >= 0 and colours.max() <= 255 and colours.std() > 5
    kinds = {int(make_generator(glyph_scenes.SEED, "glyph scenes", "source_train", n).integers(4)) for n in range(40)}
    assert kinds == {0, 1, 2, 3}


def test_a_square_larger_than_a_scene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.image_size: expected at most 64, .*found 65"):
        glyph_scenes.load(config(tmp_path, image_size=65))


def test_shifted_scenes_are_distorted_and_differ_from_the_training_streams(pair: Pair) -> None:
    shifted, plain = (pair.streams[name].read(torch.arange(96)) for name in (SOURCE_SHIFTED, "source/val"))
    assert torch.equal(shifted.labels, plain.labels)
    changed = (shifted.views[0].float() - plain.views[0].float()).abs().mean(dim=(1, 2, 3))
    assert (changed > 1).all()
    assert pair.streams[SOURCE_SHIFTED].fingerprint != pair.streams["source/val"].fingerprint
    assert len(pair.streams[TARGET_TEST]) == 192 and len(CLASSES) == 11
