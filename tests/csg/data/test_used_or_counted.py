"""A check says of every file below a data folder that it is used, that it is at fault or why it is passed over."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from csg import cli
from csg.commands.opening import open_pair
from csg.config import DataConfig
from csg.data import load_domains, load_pair
from csg.data.check import Report, check, report_path
from csg.data.pair import SOURCE_TRAIN
from csg.data.reading.decoding import PixelLimit, decode, inspect, read_bytes
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.listing import COMPANION
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.training.identity import compute_config_id
from tests.checked_data import forget, starts
from tests.published_maps import gta5, write_maps
from tests.published_trees import FAULTS, write_folders, write_visda17


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forget()


def folders(tmp_path: Path, **settings: object) -> DataConfig:
    source, target = (tmp_path / name for name in ("renders", "photographs"))
    if not source.exists():
        write_folders(tmp_path)
    return DataConfig(name="folders", source=str(source), target=str(target), **settings)  # type: ignore[arg-type]


def add(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def files_in(folder: str) -> int:
    return sum(path.is_file() for path in Path(folder).rglob("*"))


def all_are_told(report: Report, *, used_besides: int = 0, files_an_image: int = 1) -> None:
    """See that images, faults of the listing and counted files are all the files that there are."""
    told = ("outside the class folders", "present but not listed")
    for side, domain in report.domains.items():
        faults = sum(fault.kind in told and fault.place.startswith(domain["folder"]) for fault in report.faults)
        counted = sum(kind.files for kind in report.passed_over[side])
        images = domain["images"] * files_an_image
        assert images + faults + counted + used_besides == files_in(domain["folder"]), side
        assert json.loads(report.path.read_text())["domains"][side]["not_used"] == [
            dataclasses.asdict(kind) for kind in report.passed_over[side]
        ]


def test_files_of_class_folders_are_used_or_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = folders(tmp_path)
    source = tmp_path / "renders"
    for number, suffix in enumerate((".gif", ".jfif", ".TIF")):
        image = Image.new("RGB", (40, 40), (number, 0, 0))
        image.save(source / "car" / f"new{suffix}", "JPEG" if suffix == ".jfif" else None)
    add(
        source, "car/@eaDir/1.png/t.jpg", "@eaDir/x.jpg", "__MACOSX/car/._1.png", "#recycle/1.png", ".AppleDouble/1.png"
    )
    add(source, "car/Thumbs.db", "car/notes.txt", "notes.TXT", "photo", "car/p.jxl", "car/1.png.crdownload")
    report = check(config)
    assert report.domains["source"]["images_per_class"] == {"car": 8, "street sign": 5, "vélo": 5}
    all_are_told(report)
    flags = ["--data.name", "folders", "--data.source", str(source), "--data.target", str(tmp_path / "photographs")]
    assert cli.main(["data", "check", *flags, "--train.batch-size", "8"]) == 0
    said = capsys.readouterr().out
    assert "source: 11 files are not used:\n  2 .txt (no image format that is read), such as car/notes.txt\n" in said
    assert "  1 .jxl (a format that Pillow reads only with a plug-in), such as car/p.jxl\n" in said
    assert "usable; 5 files are not used" in said and "nothing is wrong" not in said
    settings = {f"data.{name}": getattr(config, name) for name in ("name", "source", "target")}
    open_pair(build_config({**settings, "train.batch_size": 8}), Console())
    assert "5 files are not used, as csg data check says" in capsys.readouterr().out


def test_what_a_system_keeps_for_itself_leaves_nothing_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(tmp_path)
    add(tmp_path / "photographs", "@eaDir/x.jpg", "car/@eaDir/1.jpg", "Thumbs.db")
    flags = ["--data.name", "folders", "--data.source", "renders", "--data.target", "photographs"]
    assert cli.main(["data", "check", *flags, "--train.batch-size", "8"]) == 0
    said = capsys.readouterr().out
    assert "usable: nothing is wrong" in said and "target: 3 files are not used:" in said


def test_a_class_whose_files_are_all_passed_over_says_so(tmp_path: Path) -> None:
    config = folders(tmp_path)
    for path in (tmp_path / "renders" / "vélo").iterdir():
        path.rename(path.with_suffix(".jxl"))
    (fault,) = check(config).faults
    assert fault.kind == "class without images"
    assert "images of 'vélo', found none (5 files are not used: 5 .jxl (a format that Pillow reads" in fault.reason
    assert "such as vélo/image 0.jxl" in fault.reason
    for path in (tmp_path / "renders").rglob("*.png"):
        path.rename(path.with_suffix(""))
    forget()
    with pytest.raises(UserError, match=r"found none in .*renders \(15 files are not used: 10 without suffix \(no"):
        load_pair(config)


def test_files_beside_a_list_are_used_or_counted(tmp_path: Path) -> None:
    root = write_visda17(tmp_path / "tree")
    FAULTS["present but not listed"][1](root)
    add(root / "train", "car/notes.txt", "car/@eaDir/1.png", "car/2.jxl")
    path = next((root / "train" / "car").glob("*.png"))
    list_file = root / "train" / "image_list.txt"
    list_file.write_text(list_file.read_text().replace(path.name, "listed.dat"))
    path.rename(path.with_name("listed.dat"))
    report = check(DataConfig(name="visda17", root=str(root)))
    assert report.usable, "a listed file is used whatever its suffix"
    all_are_told(report, used_besides=1)


def test_files_beside_label_maps_are_used_or_counted(tmp_path: Path) -> None:
    source, target = write_maps(tmp_path)
    add(source, "split.mat", "images/00001.jpg", "images/@eaDir/00001.png")
    config = DataConfig(name="gta5_cityscapes", source=str(source), target=str(target), augmentation="none")
    report = check(config)
    all_are_told(report, files_an_image=2)
    reasons = {kind.suffix: kind for kind in report.passed_over["target"]}
    assert reasons[".png"].files == 10 and reasons[".png"].example.endswith("_gtFine_color.png")
    assert reasons[".json"].files == 10 and reasons[".json"].reason == reasons[".png"].reason == COMPANION
    assert {kind.suffix for kind in report.not_used} == {".mat", ".jpg"}
    for path in (source / "images").glob("*.png"):
        path.rename(path.with_suffix(".jxl"))
    forget()
    with pytest.raises(UserError, match=r"found 0 images and 8 label maps .* \(.*8 \.jxl \(a format that Pillow"):
        load_pair(config)


def test_a_published_cityscapes_as_it_was_unpacked_makes_no_start_speak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write_maps(tmp_path)
    test = "berlin/berlin_000000_000019"
    add(target, f"leftImg8bit/test/{test}_leftImg8bit.png", f"gtFine/test/{test}_gtFine_labelIds.png", "README")
    add(target, f"gtFine/test/{test}_gtFine_polygons.json", "license.txt")
    for path in list(target.rglob("*_gtFine_color.png")):
        for end in ("instanceIds.png", "labelTrainIds.png"):
            (path.parent / path.name.replace("color.png", end)).touch()
    settings = {"data.name": "gta5_cityscapes", "data.source": str(source), "data.target": str(target)}
    config = build_config(settings | {"train.batch_size": 2})
    open_pair(config, Console())
    assert "not used" not in capsys.readouterr().out
    report = check(config.data)
    all_are_told(report, files_an_image=2)
    assert {kind.reason for kind in report.passed_over["target"]} == {COMPANION}
    add(target, "gtFine/train/aachen/mine.png", "leftImg8bit/val/frankfurt/notes.txt")
    forget()
    assert sorted(kind.suffix for kind in check(config.data).not_used) == [".png", ".txt"]
    open_pair(config, Console())
    assert "2 files are not used, as csg data check says" in capsys.readouterr().out


def test_an_image_with_a_label_map_stays_as_it_is_stored_and_the_check_says_so(tmp_path: Path) -> None:
    source, target = write_maps(tmp_path)
    path = gta5(tmp_path, "images", 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = Image.open(path).copy()
    plain.save(path, exif=exif)
    config = DataConfig(name="gta5_cityscapes", source=str(source), target=str(target), augmentation="none")
    report = check(config)
    assert [(fault.kind, fault.place) for fault in report.faults] == [("orientation not applied", str(path))]
    assert report.usable and starts(config)
    pair = load_pair(config)
    for name in ("source/train", "source/val"):
        held = pair.streams[name]
        for index in range(len(held)):
            if held.files.images.get_path(index) == path:  # type: ignore[attr-defined]
                pixels = held.read(torch.tensor([index])).views[0][0].permute(1, 2, 0).numpy()
                assert np.array_equal(pixels, np.asarray(plain))
                return
    raise AssertionError("expected the image in one of both streams")


def test_what_a_check_has_passed_is_used(tmp_path: Path) -> None:
    config = folders(tmp_path)
    path = tmp_path / "renders" / "car" / "odd.png"
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\7\0\1\0\0\0" + b"6\0\0\0" * 2
    Image.new("RGB", (40, 60)).save(path, exif=exif)
    assert not check(config).faults
    files = load_domains(config)[0].files
    assert isinstance(files, ImageFiles)
    assert all(decode(files.get_path(index), 32).shape == (3, 32, 32) for index in range(len(files)))


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_more_pixels_than_a_setting_admits_are_refused_or_skipped(tmp_path: Path, on_bad_image: str) -> None:
    config = folders(tmp_path, on_bad_image=on_bad_image, max_megapixels=1)
    path = tmp_path / "renders" / "car" / "large.png"
    Image.new("RGB", (1250, 1000)).save(path)
    report = check(config)
    (fault,) = report.faults
    assert (fault.kind, fault.place) == ("bad image", str(path))
    assert "found 1,250x1,000 pixels, more than the 1 megapixels that data.max_megapixels admits" in fault.reason
    assert "raise it to 2, or reduce the image" in fault.reason and "damaged" not in fault.reason
    assert starts(config) == (on_bad_image == "skip")
    held = load_pair(config).streams
    bad = [
        error for name in (SOURCE_TRAIN, "source/val") for error in held[name].read(torch.arange(len(held[name]))).bad
    ]
    assert [error.path for error in bad] == [str(path)]
    raised = dataclasses.replace(config, max_megapixels=2)
    assert report_path(raised) != report.path and not check(raised).faults and starts(raised)


def test_a_limit_of_pixels_is_part_of_a_runs_identity_where_it_leaves_images_out() -> None:
    def identity(**settings: object) -> str:
        return compute_config_id(build_config({name.replace("__", "."): value for name, value in settings.items()}))

    for pair in ("glyphs", "folders"):
        assert identity(data__name=pair) == identity(data__name=pair, data__max_megapixels=9)
    skipping = {"data__name": "folders", "data__on_bad_image": "skip"}
    assert identity(**skipping) != identity(**skipping, data__max_megapixels=9)


def test_a_photograph_of_200_megapixels_is_used_and_nothing_is_printed(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "large.jpg"
    Image.new("L", (20_000, 10_000), 90).save(path, quality=10)
    assert inspect(path, read_bytes(path)).size == (20_000, 10_000)
    assert decode(path, 32).shape == (3, 32, 32)
    assert PixelLimit().explain_refusal((20_000, 10_000)) is None and PixelLimit().explain_refusal((20_000, 20_000))
    assert capfd.readouterr() == ("", "") and not list(recwarn) and not caplog.text
