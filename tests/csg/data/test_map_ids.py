"""Label maps in another table of ids are told from those of Cityscapes' labelIds, refused, and read when told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cityscapesscripts.helpers.labels import labels as published
from PIL import Image

from csg import cli
from csg.config import DataConfig
from csg.data import load_pair
from csg.data.check import check, verify
from csg.data.maps.judgement import format_ranges
from csg.data.maps.label_maps import (
    CLASS_IDS,
    CLASSES,
    COLOURS,
    LABEL_IDS,
    TRAIN_IDS,
    OtherIdsError,
    fit_train_ids,
    read_ids,
)
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, TARGET_TEST, TARGET_VAL
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.training.identity import compute_config_id
from tests.checked_data import forget, starts
from tests.published_maps import to_train_ids, write_maps

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_maps(tmp_path)
    forget()
    return tmp_path


def maps(tree: Path, **settings: object) -> DataConfig:
    chosen = {"image_size": 32, "source_val_fraction": 0.25} | settings
    sides = {"source": str(tree / "gta5"), "target": str(tree / "cityscapes")}
    return DataConfig(name="gta5_cityscapes", **(sides | chosen))  # type: ignore[arg-type]


def gta5_maps(tree: Path) -> list[Path]:
    return sorted((tree / "gta5" / "labels").iterdir())


def cityscapes_maps(tree: Path) -> list[Path]:
    return sorted((tree / "cityscapes" / "gtFine").rglob("*_labelIds.png"))


def repaint_ids(paths: list[Path], change: Change, palette: np.ndarray | None = None) -> None:
    for path in paths:
        image = Image.fromarray(change(np.array(Image.open(path))).astype(np.uint8))
        if palette is not None:
            image.putpalette(palette.astype(np.uint8).ravel().tolist())
        image.save(path)
    forget()


def labels_of(config: DataConfig, name: str) -> torch.Tensor:
    stream = load_pair(config).streams[name]
    return torch.cat([stream.read(torch.tensor([index])).labels for index in range(len(stream))])


def colours_in_order(*, train_ids: bool) -> np.ndarray:
    """(256, 3) palette in which an id has its class's colour, by either table."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    for label, one in enumerate(range(19) if train_ids else CLASS_IDS):
        palette[one] = COLOURS[label]
    return palette


def test_the_colours_are_the_published_ones() -> None:
    by_name = {label.name: label for label in published}
    assert [tuple(colour) for colour in COLOURS.tolist()] == [by_name[name].color for name in CLASSES]


@pytest.mark.parametrize(
    ("side", "paths"), [("source", gta5_maps), ("target", cityscapes_maps)], ids=["source", "target"]
)
def test_training_ids_are_refused_by_name_and_read_with_the_setting(
    tree: Path, side: str, paths: Callable[[Path], list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    stream = {"source": SOURCE_TRAIN, "target": TARGET_TEST}[side]
    expected = labels_of(maps(tree), stream)
    repaint_ids(paths(tree), to_train_ids)
    report = check(maps(tree))
    assert [fault.kind for fault in report.faults] == ["other table of ids"] and not starts(maps(tree))
    (fault,) = report.faults
    folder = {"source": tree / "gta5" / "labels", "target": tree / "cityscapes" / "gtFine"}[side]
    assert fault.place == str(folder) and "found ids 0 to 18, 255" in fault.reason
    assert f"--data.{side}-ids train_ids" in fault.reason
    flags = ["--data.name", "gta5_cityscapes", "--data.source", "gta5", "--data.target", "cityscapes"]
    small = ["--data.image-size", "32", "--train.batch-size", "2"]
    assert cli.main(["data", "check", *flags, *small]) == 1
    said = capsys.readouterr().out
    assert "not usable" in said and "nothing is wrong" not in said
    told = maps(tree, **{f"{side}_ids": "train_ids"})
    assert check(told).faults == () and torch.equal(labels_of(told, stream), expected)
    insisted = maps(tree, **{f"{side}_ids": "label_ids"})
    assert [fault.kind for fault in check(insisted).faults] == ["classes without pixels"] and starts(insisted)


def test_a_setting_that_changes_labels_is_part_of_the_identity(tree: Path) -> None:
    ids = [
        compute_config_id(build_config({"data.name": name, "data.source_ids": one}))
        for name in ("gta5_cityscapes", "glyphs")
        for one in ("by_name", "label_ids", "train_ids")
    ]
    assert len(set(ids[:3])) == 3 and len(set(ids[3:])) == 1
    assert load_pair(maps(tree)).fingerprint != load_pair(maps(tree, source_ids="label_ids")).fingerprint


def test_files_named_for_training_ids_are_read_beside_others_or_alone(tree: Path) -> None:
    expected = {name: labels_of(maps(tree), name) for name in (SOURCE_TRAIN, TARGET_TEST)}
    for path in [*gta5_maps(tree), *cityscapes_maps(tree)]:
        other = path.with_name(path.name.replace("_labelIds", "").removesuffix(".png") + "_labelTrainIds.png")
        Image.fromarray(to_train_ids(np.array(Image.open(path)))).save(other)
    forget()
    assert check(maps(tree)).faults == ()
    both = {"source_ids": "train_ids", "target_ids": "train_ids"}
    pair = load_pair(maps(tree, **both))
    for name, held in pair.streams.items():
        if name != SOURCE_SHIFTED:
            assert held.files.maps.name(0).endswith("_labelTrainIds.png")  # type: ignore[attr-defined]
    for path in [*gta5_maps(tree), *cityscapes_maps(tree)]:
        if not path.name.endswith("TrainIds.png"):
            path.unlink()
    forget()
    for settings in ({}, both):
        assert check(maps(tree, **settings)).faults == ()
        assert all(torch.equal(labels_of(maps(tree, **settings), name), expected[name]) for name in expected)


@pytest.mark.parametrize("void", [(0,), (255,), (0, 4), (1, 2, 3)])
def test_a_side_without_a_labelled_pixel_is_refused(tree: Path, void: tuple[int, ...]) -> None:
    repaint_ids(gta5_maps(tree), lambda ids: np.resize(np.array(void), ids.shape))
    report = check(maps(tree))
    assert [fault.kind for fault in report.faults] == ["no labelled pixel"]
    assert "all of them void" in report.faults[0].reason and "--data.source-ids" in report.faults[0].reason
    with pytest.raises(UserError, match="expected pixels of some class in the source's 8 label maps"):
        verify(maps(tree))


def test_a_stream_without_a_labelled_pixel_is_refused(tree: Path) -> None:
    val = [path for path in cityscapes_maps(tree) if "/val/" in str(path)]
    repaint_ids(val, np.zeros_like)
    assert {(fault.kind, fault.place) for fault in check(maps(tree)).faults} == {("stream without labels", TARGET_TEST)}
    assert not starts(maps(tree))


def test_a_report_on_another_split_says_nothing_of_this_one(tree: Path) -> None:
    part = load_pair(maps(tree)).streams[TARGET_VAL].files.maps  # type: ignore[attr-defined]
    repaint_ids([part.get_path(place) for place in range(len(part))], np.zeros_like)
    assert not starts(maps(tree))
    more = maps(tree, target_val_fraction=0.8)
    assert verify(more).explain_refusal("error") is None
    with pytest.raises(UserError, match="target/val: expected pixels of some class in its 2 label maps, found none"):
        verify(maps(tree))


def test_one_void_map_among_others_is_fine(tree: Path) -> None:
    repaint_ids(gta5_maps(tree)[:1], lambda ids: np.where(ids % 2, 0, 4))
    assert check(maps(tree)).faults == ()


def test_classes_that_no_map_shows_are_named_and_stop_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repaint_ids(gta5_maps(tree), lambda ids: np.where((ids == 31) | (ids == 12), 0, ids))
    report = check(maps(tree))
    assert [(fault.kind, fault.reason) for fault in report.faults] == [
        ("classes without pixels", "no source label map has a pixel of 'wall', 'train'")
    ]
    assert starts(maps(tree)) and 0 < report.domains["source"]["labelled_share"] < 0.95


def test_some_maps_in_another_table_are_named(tree: Path) -> None:
    repaint_ids(gta5_maps(tree)[2:4], to_train_ids)
    (fault,) = check(maps(tree)).faults
    assert fault.kind == "other table of ids" and "2 of 8 label maps" in fault.reason and not starts(maps(tree))
    assert starts(maps(tree, source_ids="label_ids"))
    assert "labels/00003.png, labels/00004.png" in fault.reason
    told = check(maps(tree, source_ids="train_ids", on_bad_image="skip"))
    assert {fault.kind for fault in told.faults} == {"unknown label id", "mixed tables of ids"}
    (fault,) = (fault for fault in told.faults if fault.kind == "mixed tables of ids")
    assert "6 of 8" in fault.reason and "--data.source-ids label_ids" in fault.reason


@pytest.mark.parametrize("order", ["labelTrainIds", "another order"])
def test_a_palette_of_cityscapes_in_another_order_is_noticed(tree: Path, order: str) -> None:
    """The colours are right, and so is what a viewer shows; the ids are not."""
    if order == "labelTrainIds":
        palette, change = colours_in_order(train_ids=True), to_train_ids
    else:
        palette = colours_in_order(train_ids=True)[np.r_[18:-1:-1, 19:256]]
        change = lambda ids: np.where(to_train_ids(ids) == 255, 255, 18 - to_train_ids(ids))  # noqa: E731
    repaint_ids(gta5_maps(tree), change, palette)
    report = check(maps(tree))
    assert {fault.kind for fault in report.faults if fault.place.endswith(".png")} == {"palette against ids"}
    assert order in report.faults[0].reason and "data.source_ids" in report.faults[0].reason
    assert not starts(maps(tree)) and not starts(maps(tree, on_bad_image="skip"))
    told = maps(tree, source_ids="train_ids")
    assert check(told).faults == () and starts(told)


def test_a_palette_in_the_tables_own_order_or_of_other_colours_says_nothing(tmp_path: Path) -> None:
    """Pole groups and licence plates have the colours of poles and cars; segmentation's usual palette that of road."""
    named = {label.id % 256: label.color for label in published}
    own = np.array([named.get(one, (0, 0, 0)) for one in range(256)])
    usual = [[sum((one >> (3 * k + c) & 1) << (7 - k) for k in range(3)) for c in range(3)] for one in range(256)]
    for table, palette, ids in (
        (LABEL_IDS, own, [*range(35), 255]),
        (LABEL_IDS, np.array(usual), list(range(35))),
        (TRAIN_IDS, np.array(usual), [*range(19), 255]),
        (TRAIN_IDS, colours_in_order(train_ids=True), [*range(19), 255]),
    ):
        image = Image.fromarray(np.array([ids] * 2, dtype=np.uint8))
        image.putpalette(palette.astype(np.uint8).ravel().tolist())
        image.save(tmp_path / "map.png")
        found = read_ids("map.png", (tmp_path / "map.png").read_bytes())
        assert found.look_up_classes(table).shape == (2, len(ids))
    with pytest.raises(OtherIdsError, match=r"map\.png: expected a label map, found ids that its palette gives"):
        found.look_up_classes(LABEL_IDS)
    assert found.look_up_classes(TRAIN_IDS, trusted=True)[0, 3] == 3


@pytest.mark.parametrize(
    ("ids", "fit"),
    [
        ((*range(19), 255), True),
        ((0, 2, 8, 10, 13), True),
        ((0, 1, 2, 13), True),
        ((*range(34),), False),
        ((0, 7), False),
        ((7, 8, 11), False),
        ((7, 11, 255), False),
        ((0, 4, 7), False),
        ((7, 26), False),
        ((255,), False),
        ((), False),
    ],
)
def test_ids_fit_the_table_in_which_fewer_are_void(ids: tuple[int, ...], fit: bool) -> None:
    shown = np.zeros(256, dtype=np.bool_)
    shown[list(ids)] = True
    assert fit_train_ids(shown) == fit


def test_ids_are_listed_as_ranges() -> None:
    shown = np.zeros(256, dtype=np.bool_)
    shown[[0, 1, 2, 7, 254, 255]] = True
    assert format_ranges(shown) == "0 to 2, 7, 254 to 255"
