"""One of several sources left out of training: which images go where, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from csg.config import DataConfig
from csg.data import load_pair
from csg.data.check import check
from csg.data.held_out import HELD_OUT, hold_out_each, list_removable_sources
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.training.identity import compute_config_id
from tests.checked_data import forget
from tests.csg.data.test_sources import SIZES, settings
from tests.csg.data.test_sources import sources as sources  # noqa: PLC0414 (a fixture)
from tests.made_up_pair import labelled
from tests.published_maps import write_gta5


def test_what_a_source_has_of_source_val_is_held_out_and_its_other_images_are_not_used(sources: list[Path]) -> None:
    whole = load_pair(settings(sources))
    pair = load_pair(settings(sources, held_out="pack"))
    assert list_removable_sources(whole) == tuple(SIZES) and pair.sources == ("engine", "scans")
    train, val, held_out = (labelled(pair, name) for name in (SOURCE_TRAIN, SOURCE_VAL, HELD_OUT))
    assert torch.bincount(train.sources).tolist() == [27, 9] and torch.bincount(val.sources).tolist() == [9, 3]
    theirs = labelled(whole, SOURCE_VAL)
    chosen = torch.nonzero(theirs.sources == 1).flatten()
    assert torch.equal(held_out.load_images(torch.arange(6)), theirs.load_images(chosen))
    assert torch.equal(held_out.labels, theirs.labels[chosen])
    assert len(pair.streams[SOURCE_SHIFTED]) == 12
    assert pair.description.endswith("without pack: source train/val 36/12, held out 6")
    assert len({pair.fingerprint, whole.fingerprint, hold_out_each(whole).fingerprint}) == 3


def test_the_images_of_a_source_that_stays_are_drawn_as_before(sources: list[Path]) -> None:
    whole, pair = (load_pair(settings(sources, held_out=name)).streams[SOURCE_TRAIN] for name in (None, "engine"))
    views = [
        each.read_crops(torch.tensor([place]), seed=3, epoch=1, views=1) for each, place in ((whole, 27), (pair, 0))
    ]
    assert torch.equal(views[0].views[0], views[1].views[0])


def test_of_two_sources_one_is_left(sources: list[Path]) -> None:
    pair = load_pair(settings(sources[:2], held_out="engine"))
    assert pair.sources == () and set(labelled(pair, SOURCE_TRAIN).sources.tolist()) == {0}
    assert list_removable_sources(pair) == ()


def test_of_the_bundled_digits_a_family_that_is_trained_on_is_held_out(tmp_path: Path) -> None:
    config = DataConfig(source_images=320, cache=str(tmp_path))
    whole = load_pair(config)
    names = list_removable_sources(whole)
    assert names == ("DejaVu Sans Mono", "DejaVu Sans", "DejaVu Serif")
    parts = [load_pair(dataclasses.replace(config, held_out=name)) for name in names]
    assert [len(part.streams[HELD_OUT]) + len(part.streams[SOURCE_TRAIN]) for part in parts] == [320] * 3
    assert sum(len(part.streams[HELD_OUT]) for part in parts) == 320
    assert all(part.streams[SOURCE_VAL].fingerprint == whole.streams[SOURCE_VAL].fingerprint for part in parts)
    assert set(labelled(parts[0], SOURCE_TRAIN).sources.tolist()) == {0, 1}
    assert parts[0].sources == ("DejaVu Sans", "DejaVu Serif", "Computer Modern")
    with pytest.raises(
        UserError, match=r"^data\.held_out: expected of the sources one .* \(DejaVu Sans Mono, .*\), found .Comp"
    ):
        load_pair(dataclasses.replace(config, held_out="Computer Modern"))


def test_maps_are_held_out_too_and_a_check_counts_them(tmp_path: Path) -> None:
    for name, images in (("one", 8), ("other", 4)):
        write_gta5(tmp_path / name, images=images)
    forget()
    folders = (str(tmp_path / "one"), str(tmp_path / "other"))
    shared = {"source": folders, "cache": str(tmp_path / "cache"), "image_size": 32, "source_val_fraction": 0.25}
    config = DataConfig(name="gta5_cityscapes", augmentation="none", held_out="one", **shared)  # type: ignore[arg-type]
    pair = load_pair(config)
    assert [len(pair.streams[name]) for name in (SOURCE_TRAIN, SOURCE_VAL, SOURCE_SHIFTED, HELD_OUT)] == [3, 1, 1, 2]
    report = check(config)
    assert report.usable and report.streams[HELD_OUT]["images"] == 2
    assert sum(report.streams[HELD_OUT]["pixels_per_class"].values()) > 0


def test_one_source_cannot_be_held_out_nor_one_that_there_is_not(sources: list[Path]) -> None:
    with pytest.raises(
        UserError,
        match=r"^data\.held_out: expected of the sources several to be given \(data\.source A B\), found 'engine'",
    ):
        load_pair(settings(sources[:1], held_out="engine"))
    with pytest.raises(UserError, match=r"^data\.held_out: expected .* \(engine, pack, scans\), found 'engines'$"):
        load_pair(settings(sources, held_out="engines"))
    with pytest.raises(UserError, match=r"^data\.held_out: expected None with data\.trained_on=target"):
        build_config({"data.held_out": "engine", "data.trained_on": "target"})


def test_a_source_without_some_class_can_be_held_out(sources: list[Path], tmp_path: Path) -> None:
    copied = [Path(shutil.copytree(source, tmp_path / source.name)) for source in sources]
    shutil.rmtree(copied[1] / "vélo")
    config = settings(copied, cache=str(tmp_path / "cache"), allow_missing_classes=True, held_out="pack")
    assert torch.bincount(labelled(load_pair(config), HELD_OUT).labels, minlength=3).tolist() == [2, 2, 0]


def test_a_run_without_a_source_is_a_configuration_of_its_own() -> None:
    plain = {"model.weights": "none"}
    ids = {
        compute_config_id(build_config({**plain, "data.held_out": name}))
        for name in (None, "DejaVu Sans", "DejaVu Serif")
    }
    assert len(ids) == 3 and compute_config_id(build_config(plain)) in ids
