from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from csg.config import DataConfig
from csg.data import PAIRS, load_pair
from csg.data.pair import ArrayStream, split_by_class
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.training.identity import compute_config_id


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_stratified_split_puts_every_image_in_one_part_and_takes_the_share_of_every_class(
    labels: list[int], fraction: float, seed: int
) -> None:
    classes = torch.tensor(labels)
    first, second = split_by_class(classes, fraction, np.random.default_rng(seed))
    assert sorted(first.tolist() + second.tolist()) == list(range(len(labels)))
    for label in set(labels):
        assert int((classes[first] == label).sum()) == round(fraction * labels.count(label))


def test_a_stratified_split_depends_on_its_generator_alone() -> None:
    labels = torch.arange(100) % 10
    one, again, other = (split_by_class(labels, 0.3, np.random.default_rng(seed))[0] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_grey_stream_shows_the_same_grey_in_three_channels() -> None:
    grey = torch.arange(2 * 4 * 4, dtype=torch.uint8).reshape(2, 4, 4)
    images = ArrayStream(grey, torch.tensor([0, 1])).load_images(torch.tensor([1, 0, 1]))
    assert images.shape == (3, 3, 4, 4)
    assert images.dtype == torch.uint8
    assert all(torch.equal(images[:, channel], grey[[1, 0, 1]]) for channel in range(3))


def test_a_fingerprint_changes_with_a_pixel_and_with_a_label() -> None:
    grey, labels = torch.zeros(2, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])
    pixel = grey.clone()
    pixel[1, 3, 3] = 1
    streams = [ArrayStream(grey, labels), ArrayStream(pixel, labels), ArrayStream(grey, labels.flip(0))]
    assert len({stream.fingerprint for stream in streams}) == 3
    assert streams[0].fingerprint == ArrayStream(grey.clone(), labels.clone()).fingerprint


def test_an_unknown_pair_is_refused_with_the_valid_names() -> None:
    names = "glyphs, glyph_scenes, visda17, folders, gta5_cityscapes"
    with pytest.raises(UserError, match=rf"data\.name: no such pair; expected one of {names}, found 'glyph'"):
        load_pair(DataConfig(name="glyph"))


def test_trials_that_differ_in_augmentation_only_share_the_loaded_pair(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loads: list[DataConfig] = []

    def load(config: DataConfig) -> object:
        loads.append(config)
        return object()

    monkeypatch.setitem(PAIRS, "glyphs", load)
    cache = str(tmp_path)
    pairs = [load_pair(DataConfig(cache=cache, augmentation_magnitude=magnitude)) for magnitude in range(20)]
    assert all(pair is pairs[0] for pair in pairs)
    assert load_pair(DataConfig(cache=cache, image_size=32)) is not pairs[0]
    assert len(loads) == 2


def identity(**settings: object) -> str:
    return compute_config_id(build_config({f"data.{name}": value for name, value in settings.items()}))


def test_the_default_number_of_glyphs_is_the_same_run_whether_or_not_it_is_given() -> None:
    assert identity() == identity(source_images=1024) != identity(source_images=1000)


@pytest.mark.parametrize(
    ("name", "idle", "counts"),
    [
        (
            "glyphs",
            {"target_split": "test", "source_val_fraction": 0.3, "allow_missing_classes": True, "on_bad_image": "skip"},
            {},
        ),
        (
            "visda17",
            {"source": "a", "target": "b"},
            {"target_split": "test", "source_val_fraction": 0.3, "on_bad_image": "skip"},
        ),
        (
            "folders",
            {"target_split": "test", "root": "a"},
            {"allow_missing_classes": True, "source_images": 100, "on_bad_image": "skip"},
        ),
        (
            "glyph_scenes",
            {"target_split": "test", "source_val_fraction": 0.3, "on_bad_image": "skip", "source_images": 1280},
            {"target_val_fraction": 0.5, "source_images": 100},
        ),
        (
            "gta5_cityscapes",
            {"target_split": "test", "root": "a", "allow_missing_classes": True, "flip_averaging": "none"},
            {"target_val_fraction": 0.5, "source_val_fraction": 0.3, "source_images": 100, "on_bad_image": "skip"},
        ),
    ],
)
def test_settings_that_do_nothing_for_a_pair_are_no_part_of_a_run(
    name: str, idle: dict[str, object], counts: dict[str, object]
) -> None:
    plain = identity(name=name)
    assert all(identity(name=name, **{setting: value}) == plain for setting, value in idle.items())
    assert all(identity(name=name, **{setting: value}) != plain for setting, value in counts.items())
    assert identity(name=name, workers=3, cache="elsewhere") == plain
