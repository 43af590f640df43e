"""A check finds what is planted, no more and no less, and what it found is remembered."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from csg import cli, data
from csg.config import DataConfig
from csg.data import check as check_module
from csg.data import load_pair
from csg.data.check import check, report_path, verify
from csg.data.fault import IMPASSABLE, UNREADABLE
from csg.data.pair import SOURCE_TRAIN, SOURCE_VAL
from csg.data.reading import contents
from csg.messages.errors import UserError
from tests.checked_data import finds_only, forget, repaint, starts
from tests.made_up_pair import labelled
from tests.published_trees import FAULTS, LIST, write_folders, write_visda17


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forget()


def visda(root: Path, **settings: object) -> DataConfig:
    return DataConfig(name="visda17", root=str(root), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("planted", FAULTS)
def test_a_planted_fault_is_found_at_its_place_and_nothing_else(tmp_path: Path, planted: str) -> None:
    root = write_visda17(tmp_path / "tree")
    kind, plant = FAULTS[planted]
    place = plant(root)
    finds_only(visda(root), kind=kind, place=place)


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
@pytest.mark.parametrize("planted", FAULTS)
def test_data_are_usable_exactly_where_training_would_start_on_them(
    tmp_path: Path, planted: str, on_bad_image: str
) -> None:
    root = write_visda17(tmp_path / "tree")
    kind, plant = FAULTS[planted]
    plant(root)
    passes = kind not in IMPASSABLE and (on_bad_image == "skip" or kind not in UNREADABLE)
    assert starts(visda(root, on_bad_image=on_bad_image)) == passes


def test_all_faults_together_are_all_found(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree")
    planted = Counter((kind, plant(root)) for kind, plant in FAULTS.values())
    assert len(planted) == len(FAULTS) >= 10
    report = check(visda(root, workers=2))
    assert Counter((fault.kind, fault.place) for fault in report.faults) == planted
    kept = json.loads(report.path.read_text())
    assert kept["usable"] is False
    assert len(kept["faults"]) == len(FAULTS)


def test_whole_data_are_described_and_the_report_is_kept(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree", per_class=6)
    seen: list[tuple[int, int]] = []
    report = check(visda(root), lambda done, total: seen.append((done, total)))
    assert report.usable and not report.faults
    assert report.domains["source"]["readable_images"] == 72
    assert seen[-1] == (144, 144) and seen == sorted(seen)
    assert report.domains["source"]["images"] == 72
    assert report.domains["target"]["images_per_class"] == dict.fromkeys(
        report.domains["target"]["images_per_class"], 6
    )
    files = list((root / "train").rglob("*.png"))
    assert report.domains["source"]["bytes"] == sum(path.stat().st_size for path in files)
    assert report.domains["source"]["pixels"]["width"]["largest"] == max(Image.open(path).width for path in files)
    assert report.streams["target/test"]["images"] == 48
    assert report == check(visda(root, workers=2))


def test_data_are_looked_at_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_visda17(tmp_path / "tree")
    first = verify(visda(root))
    with monkeypatch.context() as patched:
        patched.setattr(check_module, "check", None)
        assert verify(visda(root)) == first
        path = next((root / "train").rglob("*.png"))
        os.utime(path, ns=(0, 0))
        forget()
        assert verify(visda(root)) == first  # what it holds is what it was
    repaint(path)
    forget()
    assert report_path(visda(root)) != first.path
    assert verify(visda(root, on_bad_image="skip")).faults[0].place == str(path)


def test_a_check_and_what_follows_read_every_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_visda17(tmp_path / "tree", per_class=12)
    monkeypatch.setattr(check_module, "FEW", 100)
    monkeypatch.setattr(contents, "_digest", None)
    report = verify(visda(root, workers=2))
    forget()
    assert verify(visda(root)) == report
    assert load_pair(visda(root)).streams[SOURCE_TRAIN].fingerprint == report.streams[SOURCE_TRAIN]["fingerprint"]


def test_a_damaged_report_is_made_again(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree")
    report = verify(visda(root))
    report.path.write_text('{"pair": "visda17"')
    assert verify(visda(root)) == report


def test_bad_images_are_refused_by_name_or_let_pass_on_request(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree")
    places = [FAULTS[planted][1](root) for planted in ("PNG cut short", "empty file", "listed but absent")]
    with pytest.raises(UserError, match=r"3 of 96 images cannot be used.*--data\.on-bad-image skip") as refused:
        verify(visda(root))
    assert all(place in str(refused.value) for place in places)
    assert len(verify(visda(root, on_bad_image="skip")).faults) == 3


def test_a_side_without_a_readable_image_is_refused_even_where_bad_images_are_skipped(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree", per_class=2)
    for path in (root / "validation").rglob("*.jpg"):
        path.write_bytes(b"")
    config = visda(root, on_bad_image="skip")
    assert not check(config).usable
    with pytest.raises(UserError, match=r"expected target images, found none that can be read in .*validation"):
        verify(config)


def test_a_class_with_one_image_is_reported_after_all_images_were_looked_at(tmp_path: Path) -> None:
    source, target = write_folders(tmp_path)
    for path in sorted((source / "car").iterdir())[1:]:
        path.unlink()
    bad = target / "car" / "image 0.JPG"
    bad.write_bytes(b"")
    config = DataConfig(name="folders", source=str(source), target=str(target))
    report = check(config)
    assert {(fault.kind, fault.place) for fault in report.faults} == {
        ("class with one image", str(source / "car" / "image 0.png")),
        ("bad image", str(bad)),
    }
    with pytest.raises(UserError, match=r"data\.source_val_fraction: expected two images or more of 'car' among the"):
        data.load_pair(config)
    accepting = dataclasses.replace(config, allow_missing_classes=True)
    with pytest.raises(UserError, match="1 of 26 images cannot be used"):
        verify(accepting)  # the class with one image is no fault, although a report says that it was one
    assert [fault.kind for fault in check(accepting).faults] == ["bad image"]


def test_listing_faults_that_harm_nothing_do_not_stop_training(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree")
    for planted in ("present but not listed", "line twice", "label of another folder"):
        FAULTS[planted][1](root)
    assert len(verify(visda(root)).faults) == 3


def test_a_label_counts_more_than_the_folder_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_visda17(tmp_path / "tree")
    FAULTS["label of another folder"][1](root)
    pair = data.load_pair(visda(root))
    counts = torch.bincount(torch.cat([labelled(pair, name).labels for name in (SOURCE_TRAIN, SOURCE_VAL)]))
    assert counts.tolist() == [4, 4, 5, 4, 4, 4, 4, 4, 4, 3, 4, 4]
    assert "lies in the folder skateboard/ and is listed with class 2 (bus)" in caplog.text


def test_folders_are_checked_too(tmp_path: Path) -> None:
    source, target = write_folders(tmp_path)
    stray = target / "stray.jpg"
    Image.new("RGB", (40, 40)).save(stray)
    bad = target / "vélo" / "image 2.JPG"
    bad.write_bytes(bad.read_bytes()[:-40])
    (source / "car").rename(source / "Car")
    report = check(DataConfig(name="folders", source=str(source), target=str(target)))
    assert Counter((fault.kind, fault.place) for fault in report.faults) == Counter(
        {
            ("outside the class folders", str(stray)): 1,
            ("bad image", str(bad)): 1,
            ("class without images", str(source)): 1,
            ("class without images", str(target)): 1,
        }
    )


def test_a_cache_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"data\.cache: cannot write .*choose another folder with --data\.cache"):
        check(visda(write_visda17(tmp_path / "tree"), cache=str(tmp_path / "file" / "cache")))


def command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    try:
        code = cli.main(["data", *argv])
    except SystemExit as left:
        code = int(left.code or 0)
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_commands_exit_code_says_whether_the_data_are_usable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_visda17(tmp_path / "tree")
    flags = ["check", "--data.name", "visda17", "--data.root", str(root)]
    code, said = command(flags, capsys)
    assert code == 0 and "usable: nothing is wrong" in said and "source/train" in said

    def plant(name: str) -> str:
        forget()
        return FAULTS[name][1](root)

    place = plant("present but not listed")
    code, said = command(flags, capsys)
    assert code == 0 and "usable, with 1 fault that training passes over" in said and place in said
    place = plant("JPEG cut short")
    code, said = command(flags, capsys)
    assert code == 1 and "2 faults: 1 image present but not listed, 1 bad image" in said and place in said
    assert "not usable: 1 of 96 images cannot be used" in said and "report: " in said
    code, said = command([*flags, "--data.on-bad-image", "skip"], capsys)
    assert code == 0 and "usable, with 2 faults that training passes over" in said
    place = plant("listed image without a label")
    code, said = command([*flags, "--data.on-bad-image", "skip"], capsys)
    assert code == 1 and "not usable: the data cannot be used" in said and place in said
    assert "checked 95 of 95 images" in said


def test_the_command_refuses_a_batch_that_the_data_do_not_fill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_visda17(tmp_path / "tree", per_class=2)
    code, said = command(["check", "--data.name", "visda17", "--data.root", str(root)], capsys)
    assert code == 2 and "train.batch_size: expected at most the 12 images of source/train, found 32" in said


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ([], 2, "csg data: expected a command (check), found none"),
        (["--help"], 0, "usage: csg data check"),
        (["chekc"], 2, "found 'chekc'"),
        (["check"], 2, "data.name: expected a pair on disk (visda17, folders, gta5_cityscapes), found 'glyphs'"),
        (["check", "--data.name", "visda17"], 2, "data.root: expected the folder"),
        (["check", "--data.rot", "x"], 2, "--data.root"),
        (["check", "--data.name", "visda17", "--data.root", "none"], 2, "found nothing at"),
    ],
)
def test_the_command_refuses_wrong_flags(
    argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(argv, capsys)[0] == code
    assert message in command(argv, capsys)[1]


def test_an_interrupted_check_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_visda17(tmp_path / "tree")

    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check_module, "map_in_order", interrupt)
    code, said = command(["check", "--data.name", "visda17", "--data.root", str(root)], capsys)
    assert code == 130 and "Interrupted; nothing was kept" in said
    assert not (tmp_path / "runs").exists()
    assert (root / "train" / LIST).exists()
