"""Names are the same however their letters are stored, of classes, images and label maps; files are opened as spelt."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import torch

from csg import data
from csg.config import DataConfig
from csg.data import load_pair
from csg.data.check import check
from csg.data.pair import SOURCE_TRAIN
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.spelling import find_near
from csg.messages.errors import UserError
from tests.checked_data import forget
from tests.published_maps import write_maps
from tests.published_trees import LIST, write_folders, write_image, write_visda17

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Tür") for form in ("NFC", "NFD"))
assert COMPOSED != DECOMPOSED


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forget()


def folders(tmp_path: Path, **settings: object) -> DataConfig:
    sides = {"source": str(tmp_path / "renders"), "target": str(tmp_path / "photographs")}
    return DataConfig(name="folders", **(sides | settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("side", ["renders", "photographs"])
def test_a_class_is_one_however_each_side_stores_its_letters(tmp_path: Path, side: str) -> None:
    write_folders(tmp_path, ["car", COMPOSED])
    (tmp_path / side / COMPOSED).rename(tmp_path / side / DECOMPOSED)
    report = check(folders(tmp_path))
    assert not report.faults and report.usable
    pair = load_pair(folders(tmp_path))
    assert pair.classes == (COMPOSED, "car")
    for stream in pair.streams.values():
        assert len(stream.read(torch.arange(len(stream))).indices) == len(stream)


def test_the_data_are_the_same_on_a_disk_that_stores_letters_otherwise(tmp_path: Path) -> None:
    write_folders(tmp_path, ["Tuv", COMPOSED])  # which sort one way composed and the other way decomposed
    write_image(tmp_path / "renders" / "Tuv" / f"{COMPOSED}.png", 1, 0, real=False)
    first = load_pair(folders(tmp_path)).fingerprint
    for path in sorted(tmp_path.rglob(f"*{COMPOSED}*"), reverse=True):
        path.rename(path.with_name(path.name.replace(COMPOSED, DECOMPOSED)))
    forget()
    assert load_pair(folders(tmp_path)).fingerprint == first


def test_both_spellings_on_one_disk_are_refused_by_name(tmp_path: Path) -> None:
    write_folders(tmp_path, ["car", COMPOSED])
    write_image(tmp_path / "photographs" / DECOMPOSED / "1.png", 0, 0, real=True)
    with pytest.raises(UserError, match=r"data\.target: .*found two of the same name in .*'Tu\\u0308r' and 'T\\xfcr'"):
        load_pair(folders(tmp_path))


@pytest.mark.parametrize("other", ["Car", "car ", "CAR", " car"])
def test_a_class_that_the_other_side_calls_almost_so_is_pointed_at(tmp_path: Path, other: str) -> None:
    write_folders(tmp_path, ["car", "bus"])
    (tmp_path / "photographs" / "car").rename(tmp_path / "photographs" / other)
    report = check(folders(tmp_path))
    hint = "if they are the same class, give it one name"
    assert {fault.reason for fault in report.faults} == {
        f"expected target images of 'car', found none, but some of {other!r}: {hint}",
        f"expected source images of {other!r}, found none, but some of 'car': {hint}",
    }


def test_near_names_differ_in_case_blanks_hyphens_and_underscores_alone() -> None:
    assert find_near("traffic light", ["traffic", "Traffic_Light"]) == "Traffic_Light"
    assert find_near("car", ["car", "cart", "cár"]) is None


@pytest.mark.parametrize("listed", [COMPOSED, DECOMPOSED])
def test_a_list_names_a_file_however_its_letters_are_stored(tmp_path: Path, listed: str) -> None:
    root = write_visda17(tmp_path / "tree")
    on_disk = DECOMPOSED if listed == COMPOSED else COMPOSED
    write_image(root / "train" / on_disk / f"{on_disk} 1.png", 3, 99, real=False)
    path = root / "train" / LIST
    path.write_text(path.read_text() + f"{listed}/{listed} 1.png 3\n")
    config = DataConfig(name="visda17", root=str(root))
    assert not check(config).faults
    files = data.load_domains(config)[0].files
    assert isinstance(files, ImageFiles)
    assert f"{on_disk}/{on_disk} 1.png" in [files.name(place) for place in range(len(files))]
    path.write_text(path.read_text() + f"{on_disk}/{on_disk} 1.png 3\n")
    forget()
    assert [fault.kind for fault in check(config).faults] == ["repeated line"]


def test_a_file_that_is_there_in_no_spelling_is_absent(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree")
    path = root / "train" / LIST
    path.write_text(path.read_text() + f"car/{COMPOSED}.png 3\nnone/{COMPOSED}.png 3\n")
    kinds = [fault.kind for fault in check(DataConfig(name="visda17", root=str(root))).faults]
    assert kinds == ["listed but absent"] * 2


def test_an_image_and_its_map_are_a_pair_however_their_letters_are_stored(tmp_path: Path) -> None:
    write_maps(tmp_path)
    (tmp_path / "gta5" / "images" / "00003.png").rename(tmp_path / "gta5" / "images" / f"{COMPOSED}.png")
    (tmp_path / "gta5" / "labels" / "00003.png").rename(tmp_path / "gta5" / "labels" / f"{DECOMPOSED}.png")
    for kind, form in (("leftImg8bit", COMPOSED), ("gtFine", DECOMPOSED)):
        city = tmp_path / "cityscapes" / kind / "val" / "lindau"
        for path in sorted(city.iterdir()):
            path.rename(path.with_name(path.name.replace("lindau", form)))
        city.rename(city.with_name(form))
    sides = {"source": str(tmp_path / "gta5"), "target": str(tmp_path / "cityscapes")}
    config = DataConfig(name="gta5_cityscapes", image_size=32, **sides)  # type: ignore[arg-type]
    report = check(config)
    assert not report.faults and report.domains["source"]["images"] == 8 and report.domains["target"]["images"] == 10
    assert len(load_pair(config).streams[SOURCE_TRAIN].read_centre(torch.arange(7)).indices) == 7
