"""Trees in the published layouts become pairs; what is wrong with a listing is said in words before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from csg import data
from csg.config import DataConfig
from csg.data import load_pair
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.data.pairs import visda17
from csg.data.pairs.visda17 import parse_list
from csg.messages.errors import UserError
from tests.checked_data import repaint
from tests.made_up_pair import labelled
from tests.published_trees import FAULTS, LIST, VISDA17_CLASSES, write_folders, write_image, write_visda17


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


def visda(root: Path, **settings: object) -> DataConfig:
    return DataConfig(name="visda17", root=str(root), image_size=32, **settings)  # type: ignore[arg-type]


def folders(root: Path, **settings: object) -> DataConfig:
    sides = {"source": str(root / "renders"), "target": str(root / "photographs")}
    return DataConfig(name="folders", image_size=32, **(sides | settings))  # type: ignore[arg-type]


def list_names(pair: Pair, stream: str) -> set[str]:
    files = pair.streams[stream].files  # type: ignore[attr-defined]
    return {str(files.get_path(index)) for index in range(len(files))}


def test_visda17_has_the_twelve_classes_in_label_order_and_all_images_in_some_stream(tmp_path: Path) -> None:
    pair = load_pair(visda(write_visda17(tmp_path, per_class=5)))
    assert pair.classes == VISDA17_CLASSES == visda17.CLASSES
    sizes = {name: len(stream) for name, stream in pair.streams.items()}
    assert sizes == {SOURCE_TRAIN: 48, SOURCE_VAL: 12, SOURCE_SHIFTED: 12, TARGET_VAL: 24, TARGET_TEST: 36}
    for one, other, folder in ((SOURCE_TRAIN, SOURCE_VAL, "train"), (TARGET_VAL, TARGET_TEST, "validation")):
        assert not list_names(pair, one) & list_names(pair, other)
        assert list_names(pair, one) | list_names(pair, other) == {
            str(path) for path in (tmp_path / folder).rglob("*.*g")
        }
    for name in pair.streams:
        stream = labelled(pair, name)
        assert torch.equal(stream.labels.unique(), torch.arange(12))  # type: ignore[no-untyped-call]
        assert stream.load_images(torch.tensor([0, 3])).shape == (2, 3, 32, 32)
    files = pair.streams[SOURCE_TRAIN].files  # type: ignore[attr-defined]
    assert all(files.name(i).startswith(VISDA17_CLASSES[label]) for i, label in enumerate(files.labels.tolist()))
    assert pair.flip_averaging and "\n" not in pair.description
    assert "source train/val 48/12, target val/test 24/36" in pair.description


def test_the_target_is_validation_or_test_by_choice(tmp_path: Path) -> None:
    write_visda17(tmp_path, real=("validation", "test"))
    validation, test = (load_pair(visda(tmp_path, target_split=split)) for split in ("validation", "test"))
    assert all("/validation/" in name for name in list_names(validation, TARGET_TEST))
    assert all("/test/trunk" in name for name in list_names(test, TARGET_TEST))
    assert validation.fingerprint != test.fingerprint


def test_splits_are_stratified_fixed_and_blind_to_the_order_of_the_list(tmp_path: Path) -> None:
    write_visda17(tmp_path, per_class=10)
    pair = load_pair(visda(tmp_path))
    assert torch.bincount(labelled(pair, TARGET_VAL).labels).tolist() == [3] * 12
    assert torch.bincount(labelled(pair, SOURCE_VAL).labels).tolist() == [1] * 12
    for split in ("train", "validation"):
        lines = (tmp_path / split / LIST).read_text().splitlines(keepends=True)
        (tmp_path / split / LIST).write_text("".join(reversed(lines)))
    data._list_domains.cache_clear()
    again = load_pair(visda(tmp_path, cache=str(tmp_path / "elsewhere")))
    assert again is not pair and again.fingerprint == pair.fingerprint
    other = load_pair(visda(tmp_path, target_val_fraction=0.5))
    assert torch.bincount(labelled(other, TARGET_VAL).labels).tolist() == [5] * 12


def test_a_part_of_the_synthetic_images_keeps_every_class_in_proportion(tmp_path: Path) -> None:
    write_visda17(tmp_path, per_class=10)
    whole, part = load_pair(visda(tmp_path)), load_pair(visda(tmp_path, source_images=30))
    assert len(part.streams[SOURCE_TRAIN]) == 30
    assert sorted(torch.bincount(labelled(part, SOURCE_TRAIN).labels).tolist()) == [2] * 6 + [3] * 6
    assert list_names(part, SOURCE_TRAIN) < list_names(whole, SOURCE_TRAIN)
    assert list_names(part, SOURCE_VAL) == list_names(whole, SOURCE_VAL)
    with pytest.raises(UserError, match=r"data\.source_images: expected at most the 108 .* found 109"):
        load_pair(visda(tmp_path, source_images=109))
    with pytest.raises(UserError, match=r"data\.source_images: .* found 10, which leave none of 'train', 'truck'"):
        load_pair(visda(tmp_path, source_images=10))
    assert len(load_pair(visda(tmp_path, source_images=10, allow_missing_classes=True)).streams[SOURCE_TRAIN]) == 10


def test_a_fingerprint_changes_with_a_files_name_class_and_content(tmp_path: Path) -> None:
    write_visda17(tmp_path, per_class=2)
    seen = {load_pair(visda(tmp_path)).fingerprint}

    def changed(cache: str) -> None:
        data._list_domains.cache_clear()
        before = len(seen)
        seen.add(load_pair(visda(tmp_path, cache=str(tmp_path / cache))).fingerprint)
        assert len(seen) == before + 1

    first = next((tmp_path / "train").rglob("*.png"))
    write_image(first, 3, 77, real=False)
    changed("size")
    repaint(first)
    changed("content")
    path = tmp_path / "validation" / LIST
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].rsplit(None, 1)[0] + " 10"]))
    with pytest.raises(UserError, match="expected two images or more of 'truck'"):
        changed("class")
    path.write_text("\n".join([*lines, "extra.jpg 10"]))
    changed("name")


def test_list_lines_may_hold_blanks_and_other_letters_and_end_as_on_windows() -> None:
    text = "\ufeffcar/my red car.png 3\r\n./bus//élan 北.PNG\t2\r\n\r\n  truck/a.png   11  \r\n"
    listing = parse_list(text.encode(), "list")
    assert listing.labels == {"car/my red car.png": 3, "bus/élan 北.PNG": 2, "truck/a.png": 11}
    assert not listing.faults and not listing.set_aside
    listing = parse_list(b"car/\xff.png 3\n", "list")
    assert list(listing.labels) == ["car/\udcff.png"] and not listing.faults


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        ("car/1.png", "malformed line", "expected 'relative/path.png label', found 'car/1.png'"),
        ("car/1.png car", "malformed line", "found 'car/1.png car'"),
        ("7", "malformed line", "found '7'"),
        ("car/1.png 12", "unknown class", "expected a label of 0 to 11, found 12"),
        ("car/1.png -1", "unknown class", "found -1"),
        ("car/\0.png 3", "malformed line", "expected 'relative/path.png label'"),
        ("../validation/car/1.png 3", "path outside the folder", "expected a path below the list's own folder, found"),
        ("car/../../validation/car/1.png 3", "path outside the folder", "found 'car/../../validation/car/1.png 3'"),
        ("/data/car/1.png 3", "path outside the folder", "found '/data/car/1.png 3'"),
        ("bus/1.png 3", "two classes", "bus/1.png is listed with class 3 here and 2 in line 1"),
        ("./bus/1.png 2", "repeated line", "bus/1.png was listed before, in line 1"),
    ],
)
def test_a_faulty_line_is_named_by_its_number(line: str, kind: str, reason: str) -> None:
    listing = parse_list(f"bus/1.png 2\n{line}\n".encode(), "train/image_list.txt")
    assert listing.labels == {"bus/1.png": 2}
    assert [(fault.kind, fault.place) for fault in listing.faults] == [(kind, "train/image_list.txt:2")]
    assert reason in listing.faults[0].reason


@pytest.mark.parametrize(
    ("line", "odd"),
    [
        *(("car/1.png 3", False), ("car/1.png 2", True), ("truck/car/1.png 3", True), ("trunk00/1.png 3", False)),
        *(("bus 3", False), ("1.png 3", False), ("Car/1.png 2", False)),
    ],
)
def test_a_label_that_contradicts_its_paths_class_folder_is_reported_and_honoured(line: str, odd: bool) -> None:
    name, label = line.split()
    listing = parse_list(f"{line}\n".encode(), "list")
    assert listing.labels == {name: int(label)}
    assert [fault.kind for fault in listing.faults] == ["label against folder"] * odd


@pytest.mark.parametrize(
    "planted",
    [
        *("label out of range", "negative label", "line without a label", "path with two labels"),
        *("class without images", "path into the other domain", "path from the root"),
    ],
)
def test_a_faulty_listing_cannot_be_loaded(tmp_path: Path, planted: str) -> None:
    place = FAULTS[planted][1](write_visda17(tmp_path))
    with pytest.raises(UserError, match="these data cannot be used") as refused:
        load_pair(visda(tmp_path))
    assert place in str(refused.value)


def test_a_missing_class_is_accepted_where_that_is_asked_for(tmp_path: Path) -> None:
    FAULTS["class without images"][1](write_visda17(tmp_path))
    with pytest.raises(UserError, match="expected target images of 'truck', found none"):
        load_pair(visda(tmp_path))
    pair = load_pair(visda(tmp_path, allow_missing_classes=True))
    assert len(pair.classes) == 12
    assert 11 not in labelled(pair, TARGET_TEST).labels and 11 in labelled(pair, SOURCE_TRAIN).labels


def test_a_wrong_root_and_a_missing_list_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root: expected the folder that holds train/ and validation/"):
        load_pair(DataConfig(name="visda17"))
    with pytest.raises(UserError, match=r"data\.root: expected a folder with train/ and validation/, found nothing at"):
        load_pair(visda(tmp_path / "none"))
    with pytest.raises(UserError, match="expected the folder train/ with the source images, found none"):
        load_pair(visda(tmp_path))
    write_visda17(tmp_path)
    (tmp_path / "validation" / LIST).unlink()
    with pytest.raises(UserError, match=r"cannot read .*validation/image_list.txt \(No such file"):
        load_pair(visda(tmp_path))
    (tmp_path / "validation" / LIST).write_text("\n")
    with pytest.raises(UserError, match="expected target images of 'aeroplane', found none"):
        load_pair(visda(tmp_path))


def test_folders_have_the_classes_of_their_sub_folders(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / "renders" / ".thumbnails").mkdir()
    pair = load_pair(folders(tmp_path))
    assert pair.classes == ("car", "street sign", "vélo")
    assert {name: len(stream) for name, stream in pair.streams.items()} == {
        SOURCE_TRAIN: 12,
        SOURCE_VAL: 3,
        SOURCE_SHIFTED: 3,
        TARGET_VAL: 6,
        TARGET_TEST: 9,
    }
    assert labelled(pair, TARGET_TEST).load_images(torch.arange(9)).shape == (9, 3, 32, 32)


def test_classes_that_differ_are_listed(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / "renders" / "car").rename(tmp_path / "renders" / "Car")
    with pytest.raises(UserError, match="allow-missing-classes") as refused:
        load_pair(folders(tmp_path))
    message = str(refused.value)
    assert f"{tmp_path / 'renders'}: expected source images of 'car', found none" in message
    assert f"{tmp_path / 'photographs'}: expected target images of 'Car', found none" in message
    pair = load_pair(folders(tmp_path, allow_missing_classes=True))
    assert pair.classes == ("Car", "car", "street sign", "vélo")


def test_folders_that_hold_nothing_to_train_on_are_refused(tmp_path: Path) -> None:
    write_folders(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    for settings, message in (
        ({"source": None}, r"data\.source: expected a folder with one sub-folder a class, found none; set --data\.sou"),
        ({"target": str(tmp_path / "none")}, r"data\.target: .*found nothing at"),
        ({"target": str(empty)}, r"data\.target: expected images, found none in"),
        ({"source": str(empty)}, r"data\.source: expected one sub-folder a class, found none in"),
        ({"target": str(tmp_path / "renders")}, r"data\.target: expected another folder than data\.source"),
    ):
        with pytest.raises(UserError, match=message):
            load_pair(folders(tmp_path, **settings))
    (empty / "car").mkdir()
    with pytest.raises(UserError, match=r"data\.target: expected images in the class folders, found none in"):
        load_pair(folders(tmp_path, target=str(empty)))


def test_a_path_that_a_pair_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"data\.source: expected data\.name=folders or gta5_cityscapes with it, found data\.name=glyphs",
    ):
        load_pair(DataConfig(source=str(tmp_path)))
    with pytest.raises(UserError, match=r"data\.root: expected data\.name=visda17 with it"):
        load_pair(DataConfig(name="folders", root=str(tmp_path)))
