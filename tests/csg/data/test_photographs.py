"""Real images without labels, with some, and none at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from csg.config import DataConfig
from csg.data import load_pair
from csg.data.check import check, read_report
from csg.data.pair import IGNORED, SOURCE_TRAIN, TARGET_TEST, TARGET_VAL
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.training.protocol import check_protocol
from tests.checked_data import forget, starts
from tests.made_up_pair import labelled
from tests.published_trees import write_folders, write_image, write_photographs


@pytest.fixture
def source(tmp_path: Path) -> Path:
    forget()
    return write_folders(tmp_path)[0]


@pytest.fixture
def labelled_target(source: Path) -> Path:
    return source.parent / "photographs"


def folders(source: Path, target: Path | None = None, more: Path | None = None) -> DataConfig:
    given = {"target": target, "target_unlabelled": more}
    paths = {name: str(path) for name, path in given.items() if path is not None}
    cache = str(source.parent / "cache")
    return DataConfig(name="folders", source=str(source), image_size=32, cache=cache, **paths)  # type: ignore[arg-type]


@pytest.mark.parametrize("nested", [False, True])
def test_photographs_without_class_folders_are_all_in_target_val(source: Path, tmp_path: Path, nested: bool) -> None:
    pair = load_pair(folders(source, write_photographs(tmp_path / "camera", nested=nested)))
    assert len(pair.streams[TARGET_VAL]) == 9 and not pair.streams[TARGET_VAL].has_labels
    assert set(labelled(pair, TARGET_VAL).labels.tolist()) == {IGNORED}
    assert TARGET_TEST not in pair.streams
    assert pair.classes == ("car", "street sign", "vélo")
    assert pair.description.endswith("target val 9 photographs without labels")


def test_without_real_images_there_is_no_target(source: Path) -> None:
    config = folders(source)
    pair = load_pair(config)
    assert sorted(pair.streams) == ["source/shifted", "source/train", "source/val"]
    assert pair.description.endswith("no real images")
    assert starts(config)


def test_photographs_join_the_labelled_ones_and_move_none_of_them(
    source: Path, labelled_target: Path, tmp_path: Path
) -> None:
    alone = load_pair(folders(source, labelled_target))
    pair = load_pair(folders(source, labelled_target, write_photographs(tmp_path / "more")))
    labels = labelled(pair, TARGET_VAL).labels.tolist()
    assert labels == labelled(alone, TARGET_VAL).labels.tolist() + [IGNORED] * 9
    assert pair.streams[TARGET_TEST].fingerprint == alone.streams[TARGET_TEST].fingerprint
    assert pair.fingerprint != alone.fingerprint
    assert pair.description.endswith(" and target val 9 photographs without labels")


def test_a_check_counts_photographs_apart_from_the_classes(source: Path, labelled_target: Path, tmp_path: Path) -> None:
    more = write_photographs(tmp_path / "more", nested=True)
    only = check(folders(source, more))
    assert only.usable and only.domains["target"]["without_label"] == 9
    assert only.domains["target"]["images_per_class"] == only.streams[TARGET_VAL]["images_per_class"] == {}
    report = check(folders(source, labelled_target, more))
    assert report.usable and read_report(report.path) == report
    assert list(report.domains) == ["source", "target", "target without labels"]
    assert report.streams[TARGET_VAL]["without_label"] == 9
    assert report.streams[TARGET_VAL]["images_per_class"] == {"car": 2, "street sign": 2, "vélo": 2}
    assert "without_label" not in report.streams[TARGET_TEST]


def test_a_broken_photograph_is_found(source: Path, tmp_path: Path) -> None:
    target = write_photographs(tmp_path / "camera")
    (target / "DSC0003.JPG").write_bytes(b"GIF89a nothing more")
    config = folders(source, target)
    assert [fault.place for fault in check(config).faults] == [str(target / "DSC0003.JPG")]
    assert not starts(config)


def _misspell(target: Path) -> None:
    (target / "vélo").rename(target / "VÉLO")
    for name in ("car", "street sign"):
        (target / name).rename(target / f"{name} of 2024")


def test_a_target_whose_folders_are_almost_classes_is_not_taken_for_photographs(
    source: Path, labelled_target: Path
) -> None:
    _misspell(labelled_target)
    with pytest.raises(UserError, match=r"found 'VÉLO' .* where the source has 'vélo': if they are the same class"):
        load_pair(folders(source, labelled_target))
    assert len(load_pair(folders(source, more=labelled_target)).streams[TARGET_VAL]) == 15


@pytest.mark.parametrize(
    ("target", "more", "message"),
    [
        ("empty", None, "data.target: expected images, found none in"),
        (None, "empty", "data.target_unlabelled: expected images, found none in"),
        (None, "absent", "data.target_unlabelled: expected a folder of photographs, found nothing at"),
        ("renders/car", None, "data.target: expected another folder than data.source"),
        ("photographs", "photographs/car", "data.target_unlabelled: expected another folder than data.target"),
        ("photographs/car", "photographs", "which lies in"),
    ],
)
def test_folders_that_cannot_be_photographs_are_refused(
    source: Path, target: str | None, more: str | None, message: str
) -> None:
    (source.parent / "empty").mkdir()
    target_path, more_path = (None if name is None else source.parent / name for name in (target, more))
    with pytest.raises(UserError, match=message):
        load_pair(folders(source, target_path, more_path))


@pytest.mark.parametrize(
    ("protocol", "photographs", "message"),
    [
        ("oracle", True, "'oracle' looks at the labels of real images, found 9 photographs without labels"),
        ("paper", True, "'paper' looks at the labels of real images, found 9 photographs without labels"),
        ("oracle", False, "'oracle' looks at real images, and data.name=folders was given none"),
    ],
)
def test_a_protocol_that_needs_labels_says_so(
    source: Path, tmp_path: Path, protocol: str, photographs: bool, message: str
) -> None:
    data = folders(source, write_photographs(tmp_path / "camera") if photographs else None)
    flat = {"method.name": "csg", "selection.protocol": protocol, "data.name": "folders"}
    config = build_config(flat | ({"selection.epoch": "best"} if protocol == "paper" else {}))
    with pytest.raises(UserError, match=f"selection.protocol: {message}"):
        check_protocol(config, load_pair(data))


def test_the_motivating_example_needs_labels(source: Path, tmp_path: Path) -> None:
    target = write_photographs(tmp_path / "camera")
    config = DataConfig(
        name="folders", source=str(source), target=str(target), trained_on="target", cache=str(tmp_path / "cache")
    )
    with pytest.raises(UserError, match=r"data.trained_on: .* found photographs without labels"):
        load_pair(config)


def test_only_labelled_photographs_are_trained_on(source: Path, labelled_target: Path, tmp_path: Path) -> None:
    config = folders(source, labelled_target, write_photographs(tmp_path / "more"))
    pair = load_pair(dataclasses.replace(config, trained_on="target"))
    assert IGNORED not in labelled(pair, SOURCE_TRAIN).labels.tolist() and len(pair.streams[SOURCE_TRAIN]) == 6


def test_a_pair_that_takes_no_photographs_refuses_their_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "more" / "a.png", 0, 0, real=True)
    with pytest.raises(UserError, match=r"data.target_unlabelled: expected data.name=folders or gta5_"):
        load_pair(DataConfig(target_unlabelled=str(tmp_path / "more")))
