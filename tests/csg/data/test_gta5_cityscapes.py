"""Street scenes in the published layouts: every pair that is whole is used once, and everything else is named."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from csg import cli
from csg.config import DataConfig
from csg.data import load_pair
from csg.data.check import check
from csg.data.fault import UNREADABLE, BadImageError
from csg.data.maps import files as map_files
from csg.data.maps.files import FileMapStream
from csg.data.maps.label_maps import CLASSES, BadMapError, UnknownIdError
from csg.data.pair import IGNORED, SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.data.pairs import gta5_cityscapes
from csg.data.pairs.gta5_cityscapes import split_share
from csg.data.reading.listing import list_image_files
from csg.data.reading.loading import map_in_order
from csg.messages.errors import UserError
from tests.checked_data import finds_only, forget, starts
from tests.finished_run import finished_run
from tests.published_maps import (
    MAP_FAULTS,
    SMALL,
    cityscapes,
    gta5,
    plant_map_fault,
    to_train_ids,
    write_cityscapes,
    write_gta5,
    write_maps,
)
from tests.published_trees import write_photographs, write_shards

WHOLE = {SOURCE_TRAIN: 6, SOURCE_VAL: 2, SOURCE_SHIFTED: 2, TARGET_VAL: 2, TARGET_TEST: 4}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sides, written once; tests that change files copy them."""
    root = tmp_path_factory.mktemp("maps")
    write_maps(root)
    return root


@pytest.fixture
def tree(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both sides that a test may change."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    forget()
    return tmp_path


def maps(tree: Path, /, **settings: object) -> DataConfig:
    chosen = {"image_size": 32, "source_val_fraction": 0.25, "cache": str(tree / "cache")} | settings
    sides = {"source": str(tree / "gta5"), "target": str(tree / "cityscapes")}
    return DataConfig(name="gta5_cityscapes", **(sides | chosen))  # type: ignore[arg-type]


def stream(pair: Pair, name: str) -> FileMapStream:
    held = pair.streams[name]
    assert isinstance(held, FileMapStream)
    return held


def list_names(pair: Pair, name: str) -> list[str]:
    files = stream(pair, name).files.images
    return [files.name(place) for place in range(len(files))]


def test_every_pair_is_in_one_stream_and_the_published_val_is_the_test(tree: Path) -> None:
    pair = load_pair(maps(tree))
    assert pair.classes == CLASSES and not pair.flip_averaging and "\n" not in pair.description
    assert "source train/val 6/2, target val/test 2/4" in pair.description
    assert {name: len(held) for name, held in pair.streams.items()} == WHOLE
    assert sorted(list_names(pair, SOURCE_TRAIN) + list_names(pair, SOURCE_VAL)) == [
        f"images/{n:05d}.png" for n in range(1, 9)
    ]
    assert {Path(name).parts[1] for name in list_names(pair, TARGET_TEST)} == {"val"}
    assert {Path(name).parts[1] for name in list_names(pair, TARGET_VAL)} == {"train"}
    assert not set(list_names(pair, SOURCE_TRAIN)) & set(list_names(pair, SOURCE_VAL))


def test_an_image_is_read_whole_with_the_labels_of_its_own_file(tree: Path) -> None:
    pair = load_pair(maps(tree))
    for name in (SOURCE_TRAIN, TARGET_TEST):
        held = stream(pair, name)
        for index in range(len(held)):
            reading = held.read(torch.tensor([index]))
            files = held.files
            pixels, ids = (np.array(Image.open(one.get_path(index))) for one in (files.images, files.maps))
            assert torch.equal(reading.views[0][0], torch.from_numpy(pixels).permute(2, 0, 1))
            expected = to_train_ids(ids).astype(np.int64)
            assert torch.equal(reading.labels[0], torch.from_numpy(np.where(expected == 255, IGNORED, expected)))
            assert reading.labels.shape == (1, *SMALL[::-1]) and reading.indices.tolist() == [index]
    stems = [Path(files.maps.name(place)).name.replace("gtFine_labelIds", "leftImg8bit") for place in range(len(files))]
    assert stems == [Path(files.images.name(place)).name for place in range(len(files))]


def test_a_crop_is_a_function_of_seed_epoch_and_image_and_the_same_for_all_views(tree: Path) -> None:
    held = stream(load_pair(maps(tree)), SOURCE_TRAIN)
    together = held.read_crops(torch.arange(6), seed=1, epoch=2, views=2)
    assert together.views[0].shape == (6, 3, 32, 32) and together.labels.shape == (6, 32, 32)
    assert together.views[1] is together.views[0]
    for place in (5, 0):
        alone = held.read_crops(torch.tensor([place]), seed=1, epoch=2, views=1)
        assert torch.equal(alone.views[0][0], together.views[0][place])
        assert torch.equal(alone.labels[0], together.labels[place])
    for other in ({"seed": 2, "epoch": 2}, {"seed": 1, "epoch": 3}):
        assert not torch.equal(held.read_crops(torch.arange(6), **other, views=1).labels, together.labels)
    centre = held.read_centre(torch.tensor([3]))
    whole = held.read(torch.tensor([3]))
    assert torch.equal(centre.labels[0], whole.labels[0][2:34, 8:40])
    assert torch.equal(centre.views[0][0], whole.views[0][0][:, 2:34, 8:40])


def test_crops_are_the_same_in_any_number_of_processes(tree: Path) -> None:
    held = stream(load_pair(maps(tree)), SOURCE_TRAIN)
    held.files.images.get_path(2).write_bytes(b"")
    runs = [
        list(
            map_in_order(
                lambda step: held.read_crops(torch.arange(3 * step, 3 * step + 3), seed=0, epoch=0, views=1),
                range(2),
                workers=workers,
            )
        )
        for workers in (0, 2)
    ]
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one.views[0], other.views[0]) and torch.equal(one.labels, other.labels)
        assert one.indices.tolist() == other.indices.tolist()
    assert runs[1][0].indices.tolist() == [0, 1] and len(runs[1][0].bad) == 1


def test_shifted_images_keep_their_labels(tree: Path) -> None:
    pair = load_pair(maps(tree))
    plain, shifted = pair.streams[SOURCE_VAL], pair.streams[SOURCE_SHIFTED]
    assert plain.fingerprint != shifted.fingerprint
    for index in range(2):
        one, other = (held.read(torch.tensor([index])) for held in (plain, shifted))
        assert torch.equal(one.labels, other.labels)
        assert one.views[0].shape == other.views[0].shape
        assert (one.views[0].float() - other.views[0].float()).abs().mean() > 2
        assert torch.equal(other.views[0], shifted.read(torch.tensor([index])).views[0])


def test_label_ids_are_preferred_and_train_ids_mean_the_same(tree: Path, tmp_path: Path) -> None:
    by_label_ids = load_pair(maps(tree))
    other = tmp_path / "other"
    write_cityscapes(other / "cityscapes", labels="labelTrainIds")
    by_train_ids = load_pair(maps(tree, target=str(other / "cityscapes")))
    for index in range(4):
        one, two = (pair.streams[TARGET_TEST].read(torch.tensor([index])) for pair in (by_label_ids, by_train_ids))
        assert torch.equal(one.labels, two.labels) and torch.equal(one.views[0], two.views[0])
    assert by_label_ids.fingerprint != by_train_ids.fingerprint
    path = cityscapes(tree, "val", 0, end="labelTrainIds")
    Image.new("L", SMALL, 3).save(path)
    forget()
    again = load_pair(maps(tree, cache=str(tmp_path / "elsewhere")))
    assert again.fingerprint == by_label_ids.fingerprint


def test_a_part_of_gta5_leaves_source_val_as_it_is(tmp_path: Path, tree: Path) -> None:
    write_gta5(tmp_path / "more", images=24)
    whole, part = (load_pair(maps(tree, source=str(tmp_path / "more"), source_images=n)) for n in (None, 10))
    assert len(part.streams[SOURCE_TRAIN]) == 10 and len(whole.streams[SOURCE_TRAIN]) == 18
    assert set(list_names(part, SOURCE_TRAIN)) < set(list_names(whole, SOURCE_TRAIN))
    assert list_names(part, SOURCE_VAL) == list_names(whole, SOURCE_VAL)
    with pytest.raises(UserError, match=r"data\.source_images: expected at most the 18 .* found 19"):
        load_pair(maps(tree, source=str(tmp_path / "more"), source_images=19))


@given(images=st.integers(2, 300), fraction=st.floats(0.001, 0.999), first=st.integers(0, 1000))
def test_a_split_is_complete_disjoint_and_always_the_same(images: int, fraction: float, first: int) -> None:
    places = torch.arange(first, first + images)
    part, rest = split_share(places, fraction, "source")
    assert sorted(part.tolist() + rest.tolist()) == places.tolist()
    assert len(part) == min(max(round(fraction * images), 1), images - 1)
    assert part.tolist() == sorted(part.tolist()) and rest.tolist() == sorted(rest.tolist())
    assert torch.equal(split_share(places, fraction, "source")[0], part)
    more, _ = split_share(places, min(1.0, fraction * 1.5), "source")
    assert set(part.tolist()) <= set(more.tolist())


def test_a_split_draws_from_everywhere() -> None:
    part, _ = split_share(torch.arange(1000), 0.3, "source")
    assert 100 < int((part < 500).sum()) < 200
    assert not torch.equal(part, split_share(torch.arange(1000), 0.3, "target")[0])


def test_headers_are_read_once_until_a_file_changes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    read_png_size = map_files.read_png_size

    def counting(path: Path) -> tuple[int, int]:
        looked.append(path)
        return read_png_size(path)

    monkeypatch.setattr(map_files, "read_png_size", counting)
    first = load_pair(maps(tree))
    assert len(looked) == 2 * (8 + 10)
    forget()
    assert load_pair(maps(tree)).fingerprint == first.fingerprint and len(looked) == 36
    for kept in (tree / "cache").glob("sizes-*"):
        kept.write_bytes(b"\x93NUMPY damaged")
    forget()
    assert load_pair(maps(tree)).fingerprint == first.fingerprint and len(looked) == 72
    plant_map_fault(tree, "size of a GTA5 label")
    forget()
    assert len(load_pair(maps(tree)).streams[SOURCE_TRAIN]) == 5 and len(looked) == 72 + 16


@pytest.mark.parametrize("planted", MAP_FAULTS)
def test_a_planted_fault_is_found_at_its_place_and_nothing_else(tree: Path, planted: str) -> None:
    kind, place = plant_map_fault(tree, planted)
    finds_only(maps(tree), kind=kind, place=place)


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
@pytest.mark.parametrize("planted", MAP_FAULTS)
def test_data_are_usable_exactly_where_training_would_start_on_them(
    tree: Path, planted: str, on_bad_image: str
) -> None:
    kind, _ = plant_map_fault(tree, planted)
    passes = on_bad_image == "skip" or kind not in UNREADABLE
    assert starts(maps(tree, on_bad_image=on_bad_image)) == passes


def test_all_faults_together_are_all_found_and_what_is_left_out_is_logged(
    tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planted = Counter(plant_map_fault(tree, name) for name in MAP_FAULTS)
    assert len(planted) == len(MAP_FAULTS) >= 10
    report = check(maps(tree, workers=2))
    assert Counter((fault.kind, fault.place) for fault in report.faults) == planted
    left_out = {place for kind, place in planted if kind not in UNREADABLE}
    assert len(left_out) == 6 and all(place in caplog.text for place in left_out)
    pair = load_pair(maps(tree))
    assert len(pair.streams[SOURCE_TRAIN]) + len(pair.streams[SOURCE_VAL]) == 5
    assert len(pair.streams[TARGET_TEST]) == 2


def test_what_cannot_be_read_is_left_out_of_a_batch_and_named(tree: Path) -> None:
    for name in ("unknown id", "image cut short", "label in colours"):
        plant_map_fault(tree, name)
    pair = load_pair(maps(tree))
    bad: list[BadImageError] = []
    for held in (pair.streams[SOURCE_TRAIN], pair.streams[SOURCE_VAL], pair.streams[SOURCE_SHIFTED]):
        reading = held.read_crops(torch.arange(len(held)), seed=0, epoch=0, views=1)
        assert len(reading.views[0]) == len(reading.labels) == len(reading.indices) == len(held) - len(reading.bad)
        bad += reading.bad if held is not pair.streams[SOURCE_SHIFTED] else ()
        assert len(held.read(torch.tensor([], dtype=torch.int64)).labels) == 0
    assert {Path(error.path) for error in bad} == {
        *(gta5(tree, "labels", 5), gta5(tree, "images", 6), gta5(tree, "labels", 7))
    }
    (unknown,) = (error for error in bad if isinstance(error, UnknownIdError))
    assert str(gta5(tree, "labels", 5)) in str(unknown) and unknown.reason.endswith(": 77")


def test_a_label_map_that_changed_its_size_since_it_was_listed_is_not_resized(tree: Path) -> None:
    held = stream(load_pair(maps(tree)), SOURCE_TRAIN)
    path = held.files.maps.get_path(0)
    Image.open(path).resize((20, 20)).save(path)
    (error,) = held.read(torch.tensor([0])).bad
    assert isinstance(error, BadMapError) and "found 20x20 pixels where its image has 48x36" in str(error)


def test_images_of_different_sizes_are_read_one_by_one(tree: Path, tmp_path: Path) -> None:
    for number, size in ((1, (40, 40)), (2, (40, 40))):
        Image.new("RGB", size).save(gta5(tree, "images", number))
        Image.new("L", size, 7).save(gta5(tree, "labels", number))
    pair = load_pair(maps(tree))
    held = next(
        stream(pair, name) for name in (SOURCE_TRAIN, SOURCE_VAL) if {"images/00001.png"} & set(list_names(pair, name))
    )
    with pytest.raises(ValueError, match="expected images of one size"):
        held.read(torch.arange(len(held)))
    assert len(held.read_crops(torch.arange(len(held)), seed=0, epoch=0, views=1).labels) == len(held)


def test_a_report_counts_images_and_pixels_of_every_class(tree: Path) -> None:
    report = check(maps(tree))
    pair = load_pair(maps(tree))
    assert report.usable and {name: one["images"] for name, one in report.streams.items()} == WHOLE
    for name, held in pair.streams.items():
        labels = torch.cat([held.read(torch.tensor([index])).labels for index in range(len(held))])
        pixels = torch.bincount(labels[labels != IGNORED], minlength=19).tolist()
        assert list(report.streams[name]["pixels_per_class"].values()) == pixels
        showing = [int((labels == label).any(dim=2).any(dim=1).sum()) for label in range(19)]
        assert list(report.streams[name]["images_per_class"].values()) == showing
    assert list(report.domains["target"]["images_per_class"]) == list(CLASSES)
    assert report.domains["source"]["pixels"]["width"] == {"smallest": 48, "median": 48, "largest": 48}
    files = [path for kind in ("images", "labels") for path in (tree / "gta5" / kind).iterdir()]
    assert report.domains["source"]["bytes"] == sum(path.stat().st_size for path in files)


def test_the_command_shows_images_and_shares_of_pixels(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data.name", "gta5_cityscapes", "--data.source", "gta5", "--data.target", "cityscapes"]
    plant_map_fault(tree, "size of a GTA5 label")
    code = cli.main(["data", "check", *flags, "--data.image-size", "32", "--train.batch-size", "2"])
    said = capsys.readouterr().out
    assert code == 0 and "usable, with 1 fault that training passes over" in said
    assert "1 size mismatch" in said and str(gta5(tree, "labels", 2)) in said
    assert "traffic light" in said and "%)" in said and "checked 17 of 17 images" in said


def test_several_roots_are_several_sources(tree: Path) -> None:
    write_gta5(tree / "more", images=4)
    both = maps(tree, source=(str(tree / "gta5"), str(tree / "more")))
    pair = load_pair(both)
    assert pair.sources == ("gta5", "more") and "(GTA5) from 2 sources -> real ones" in pair.description
    train, val = (pair.streams[name] for name in (SOURCE_TRAIN, SOURCE_VAL))
    assert torch.bincount(train.sources).tolist() == [6, 3] and torch.bincount(val.sources).tolist() == [2, 1]
    reading = train.read_crops(torch.tensor([8, 0]), seed=0, epoch=0, views=1)
    alone = load_pair(maps(tree)).streams[SOURCE_TRAIN].read_crops(torch.tensor([0]), seed=0, epoch=0, views=1)
    assert torch.equal(reading.views[0][1:], alone.views[0]) and torch.equal(reading.labels[1:], alone.labels)
    report = check(both)
    assert report.usable and list(report.domains) == ["source gta5", "source more", "target"]
    counted = [report.domains[f"source {name}"]["pixels_per_class"]["road"] for name in pair.sources]
    streams = [report.streams[name]["pixels_per_class"]["road"] for name in (SOURCE_TRAIN, SOURCE_VAL)]
    assert sum(counted) == sum(streams) > 0


def test_photographs_need_no_label_maps(tree: Path) -> None:
    write_photographs(tree / "photos", nested=True)
    mixed = load_pair(maps(tree, target_unlabelled=str(tree / "photos")))
    assert len(mixed.streams[TARGET_VAL]) == 11 and len(mixed.streams[TARGET_TEST]) == 4
    config = maps(tree, target=None, target_unlabelled=str(tree / "photos"))
    pair = load_pair(config)
    assert len(pair.streams[TARGET_VAL]) == 9 and TARGET_TEST not in pair.streams
    assert not pair.streams[TARGET_VAL].has_labels and mixed.streams[TARGET_VAL].has_labels
    assert TARGET_VAL not in load_pair(maps(tree, target=None)).streams
    report = check(config)
    assert report.usable and report.streams[TARGET_VAL]["without_label"] == 9
    assert report.streams[TARGET_VAL]["images_per_class"] == {}


def test_photographs_may_lie_in_shards_and_label_maps_may_not(tree: Path) -> None:
    write_shards(tree / "shards", write_photographs(tree / "photos"), labels="")
    images = [
        load_pair(maps(tree, target=None, target_unlabelled=str(tree / name))).streams[TARGET_VAL]
        for name in ("photos", "shards")
    ]
    for place in range(9):
        one, other = (stream.read(torch.tensor([place])) for stream in images)
        assert not other.bad and torch.equal(one.views[0], other.views[0])
    for side in ("source", "target"):
        with pytest.raises(UserError, match=rf"data\.{side}: expected .*, found shards in .*; unpack them"):
            load_pair(maps(tree, **{side: str(tree / "shards")}))


def test_a_run_on_photographs_is_finished_without_a_figure_of_them(tree: Path, tmp_path: Path) -> None:
    write_photographs(tree / "photos", images=3)
    pair = load_pair(maps(tree, target=None, target_unlabelled=str(tree / "photos")))
    small = {"data__window": 32, "model__aspp_rates": "1+2+3", "model__output_stride": 32, "train__batch_size": 2}
    run = finished_run(tmp_path / "runs", pair, data__name="gta5_cityscapes", train__epochs=1, **small)
    (epoch,) = run.record.epochs
    assert "target/val/E0_mhe" in epoch and "source/val/mean_iou" in epoch and "target/val/mean_iou" not in epoch
    assert run.record.status == "finished" and "selected/source/val/mean_iou" in run.record.final


def test_wrong_folders_say_what_was_expected(tree: Path) -> None:
    (tree / "photos").mkdir()
    for changed, message in (
        (
            {"source": None},
            r"data\.source: expected the folder of GTA5 with images/ and labels/, found none; set",
        ),
        ({"target": str(tree / "photos")}, r"data\.target: .*leftImg8bit/train; --data\.target-unlabelled takes phot"),
        ({"target_unlabelled": str(tree / "none")}, r"data\.target_unlabelled: expected .*found nothing at .*none"),
        ({"source": (str(tree / "gta5"), str(tree / "gta5"))}, r"data\.source: expected folders that differ"),
        ({"source": (str(tree / "gta5"), str(tree / "photos"))}, r"data\.source: .*found nothing at .*photos/images"),
        ({"source": str(tree / "none")}, r"data\.source: .*found nothing at .*none"),
        ({"target": str(tree / "gta5")}, r"data\.target: .*found nothing at .*leftImg8bit/train"),
        ({"root": str(tree)}, r"data\.root: expected data\.name=visda17 with it"),
        ({"cache": str(gta5(tree, "images", 1))}, r"data\.cache: cannot write .*choose another folder"),
    ):
        with pytest.raises(UserError, match=message):
            load_pair(maps(tree, **changed))
    for path in (tree / "cityscapes" / "gtFine" / "val").rglob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"target/test needs images with label maps, found none in .*leftImg8bit/val"):
        load_pair(maps(tree))
    for path in (tree / "gta5" / "labels").iterdir():
        path.unlink()
    forget()
    with pytest.raises(UserError, match=r"data\.source: expected images with label maps .*8 images and 0 label"):
        load_pair(maps(tree))


@pytest.mark.slow
def test_images_of_the_published_sizes_are_read_and_checked(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta5", images=2, size=(1914, 1052))
    write_cityscapes(tmp_path / "cityscapes", train=2, val=2, size=(2048, 1024))
    config = maps(tmp_path, image_size=512)
    pair = load_pair(config)
    reading = pair.streams[SOURCE_TRAIN].read_crops(torch.tensor([0]), seed=0, epoch=0, views=2)
    assert reading.views[0].shape == (1, 3, 512, 512) and reading.labels.shape == (1, 512, 512)
    assert pair.streams[TARGET_TEST].read(torch.tensor([1])).views[0].shape == (1, 3, 1024, 2048)
    assert pair.streams[SOURCE_SHIFTED].read(torch.tensor([0])).labels.shape == (1, 1052, 1914)
    report = check(config)
    assert report.usable and not report.faults
    assert report.domains["target"]["pixels"]["width"]["median"] == 2048


def test_each_folder_is_looked_through_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[str] = []

    def counting(folder: Path) -> list[Path]:
        walked.append(folder.relative_to(tree).as_posix())
        return list_image_files(folder)

    monkeypatch.setattr(gta5_cityscapes, "list_image_files", counting)
    load_pair(maps(tree))
    expected = [f"cityscapes/{kind}/{split}" for kind in ("leftImg8bit", "gtFine") for split in ("train", "val")]
    assert sorted(walked) == sorted([*expected, "gta5/images", "gta5/labels"])


def test_a_pipe_is_not_waited_for(tree: Path) -> None:
    path = gta5(tree, "labels", 3)
    path.unlink()
    os.mkfifo(path)
    finds_only(maps(tree), kind="bad image", place=str(path))
