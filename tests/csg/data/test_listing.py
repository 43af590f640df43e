"""Every file below a folder is an image, or is counted with the reason why it is none."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from csg.data.fault import BadImageError
from csg.data.reading import contents, listing
from csg.data.reading.contents import read_stamps
from csg.data.reading.decoding import decode, inspect, read_bytes, read_resized, read_whole
from csg.data.reading.listing import (
    CLOSED,
    NEEDS_PLUG_IN,
    NO_IMAGE,
    NO_SUFFIX,
    OF_SYSTEM,
    PassedOver,
    choose_images,
    count_passed_over,
    describe_passed_over,
    list_files,
    list_image_files,
    list_image_names,
)
from csg.messages import waiting
from csg.messages.errors import UserError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *(
            (".gif", "GIF"),
            (".GIF", "GIF"),
            (".jfif", "JPEG"),
            (".jpe", "JPEG"),
            (".tif", "TIFF"),
            (".jp2", "JPEG2000"),
        ),
        *((".avif", "AVIF"), (".pbm", "PPM"), (".pgm", "PPM"), (".pnm", "PPM"), (".tga", "TGA"), (".dds", "DDS")),
        *((".ico", "ICO"), (".apng", "PNG"), (".mpo", "MPO"), (".qoi", "QOI"), (".sgi", "SGI"), (".pcx", "PCX")),
    ],
)
def test_what_pillow_decodes_is_an_image(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.new("L" if kind == "PPM" else "RGB", (40, 40), 90).convert("L" if kind == "PPM" else "RGB").save(path, kind)
    assert list_image_files(tmp_path) == [path]
    assert decode(path, 32).shape == (3, 32, 32)


def test_a_format_without_its_decoder_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.avif", tmp_path / "b.png")
    check = features.check
    monkeypatch.setattr(features, "check", lambda name: name != "avif" and check(name))
    listing._choose_formats.cache_clear()
    assert list_image_files(tmp_path) == [tmp_path / "b.png"]
    listing._choose_formats.cache_clear()


def test_a_plug_in_makes_its_suffix_an_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.jxl")
    assert [(one.path.name, one.reason) for one in list_files(tmp_path)] == [("a.jxl", NEEDS_PLUG_IN)]
    Image.init()
    for name, value in (("ID", [*Image.ID, "JXL"]), ("EXTENSION", {**Image.EXTENSION, ".jxl": "JXL"})):
        monkeypatch.setattr(Image, name, value)
    assert list_image_files(tmp_path) == [tmp_path / "a.jxl"]


def test_photographs_of_telephones_are_images_where_the_plug_in_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    path = tmp_path / "IMG_0001.HEIC"
    assert list_image_files(tmp_path) == []
    Image.linear_gradient("L").convert("RGB").resize((64, 48)).save(path, "HEIF", quality=90)
    assert list_image_files(tmp_path) == [path]
    pixels = decode(path, 32).float()
    assert pixels[:, 0].mean() < 20 and pixels[:, -1].mean() > 235


def test_what_another_program_would_draw_is_no_image_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "a.eps")
    assert [one.reason for one in list_files(tmp_path)] == [NO_IMAGE]
    (tmp_path / "b.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n")
    with pytest.raises(BadImageError, match="another kind of file"):
        decode(tmp_path / "b.png", 32)


def test_every_file_is_an_image_or_counted_by_suffix_and_reason(tmp_path: Path) -> None:
    folder = tmp_path / ".hidden above" / "images"
    images = [folder / name for name in ("a/1.png", "a/b/2.JPG", "3.Gif")]
    others = {
        **dict.fromkeys(
            ("a/notes.txt", "b/NOTES.TXT", "b/2.txt", "a/data.json", "a/img.JPG.crdownload", "x.svg"), NO_IMAGE
        ),
        **dict.fromkeys(("photo", "a/photo."), NO_SUFFIX),
        "a/p.JXL": NEEDS_PLUG_IN,
        **dict.fromkeys(("Thumbs.db", "a/desktop.ini", ".DS_Store", "a/._1.png", "a/~$x.docx", "a/Icon\r"), OF_SYSTEM),
        **dict.fromkeys(("a/.png", "a/.hidden.png", "a/~$1.png"), OF_SYSTEM),
        **dict.fromkeys(("a/@eaDir/1.png/thumb.jpg", "@eaDir/x.png", "__MACOSX/a/._1.png"), OF_SYSTEM),
        **dict.fromkeys((".AppleDouble/1.png", "#recycle/old/1.png", ".ipynb_checkpoints/1.png"), OF_SYSTEM),
        **dict.fromkeys((".thumbnails/1.png", "lost+found/1.png", "$RECYCLE.BIN/1.png"), OF_SYSTEM),
    }
    touch(*images, *(folder / name for name in others))
    assert list_image_files(folder) == sorted(images) == sorted(folder / name for name in list_image_names(folder))
    found = list(list_files(folder))
    assert {str(one.path.relative_to(folder)): one.reason for one in found if one.reason} == others
    counted = count_passed_over(found, folder)
    assert sum(kind.files for kind in counted) == len(others)
    assert counted[0] == PassedOver(".txt", NO_IMAGE, 3, "a/notes.txt")
    assert Counter(kind.reason for kind in counted)[NO_IMAGE] == 4
    assert [kind.reason for kind in counted][-1] == OF_SYSTEM
    said = describe_passed_over(counted)
    assert said.startswith(f"{len(others)} files are not used: 3 .txt (no image format that is read), such as a/notes")
    assert "2 without suffix (no suffix says what it is), such as a/photo." in said
    assert describe_passed_over([]) == ""


def test_a_long_listing_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    touch(*(tmp_path / f"{number}.png" for number in range(3)))
    names = [os.fsencode(name) for name in list_image_names(tmp_path)]
    read_stamps(str(tmp_path), names)
    assert not caplog.records
    monkeypatch.setattr(waiting, "SECONDS", 0.0)
    monkeypatch.setattr(contents, "LOOKED_UP", 2)
    list_image_files(tmp_path)
    assert len(read_stamps(str(tmp_path), names)) == 3
    said = [f"found 3 files below {tmp_path}", *(f"looked up {done} of 3 files below {tmp_path}" for done in (2, 3))]
    assert [record.getMessage() for record in caplog.records] == said


def test_links_within_a_waste_basket_do_not_hide_the_data(tmp_path: Path) -> None:
    touch(tmp_path / "car" / "1.png")
    (tmp_path / "#recycle").mkdir()
    (tmp_path / "#recycle" / "link").symlink_to(tmp_path / "car")
    (tmp_path / ".link").symlink_to(tmp_path / "car")
    assert list_image_files(tmp_path) == [tmp_path / "car" / "1.png"]


def test_a_folder_that_cannot_be_listed_is_named_unless_a_system_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "1.png")
    for name in ("lost+found", "closed"):
        (tmp_path / name).mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name in ("lost+found", "closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = list(list_files(tmp_path))
    assert {one.path.name: one.reason for one in found} == {"1.png": None, "lost+found": OF_SYSTEM, "closed": CLOSED}
    with pytest.raises(UserError, match="closed: expected a folder that can be listed"):
        choose_images(found)
    (tmp_path / "closed").rmdir()
    assert list_image_files(tmp_path) == [tmp_path / "1.png"]


def test_of_several_frames_the_first_is_seen_and_the_others_are_reported(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    animated = [tmp_path / f"a.{suffix}" for suffix in ("gif", "webp", "png", "tif", "avif")]
    for path in animated:
        frames[0].save(path, save_all=True, append_images=frames[1:])
        red, green, _ = decode(path, 32)
        assert red.min() > 200 and green.max() < 50, path
        assert inspect(path, read_bytes(path)).several_frames
    single = [tmp_path / f"b.{suffix}" for suffix in ("gif", "jpg", "png", "tif")]
    for path in single:
        frames[0].save(path)
        assert not inspect(path, read_bytes(path)).several_frames
    frames[0].save(tmp_path / "c.mpo", save_all=True, append_images=frames[1:])
    assert not inspect(tmp_path / "c.mpo", read_bytes(tmp_path / "c.mpo")).several_frames, "previews of one picture"
    for path in (*animated, *single, tmp_path / "c.mpo"):
        of_several = path in animated
        assert read_resized(path, 32)[1] == read_whole(path)[1] == of_several, path
        first = np.asarray(read_whole(path)[0])
        assert first[..., 0].min() > 200 and first[..., 1].max() < 50, "the first frame, after others were looked for"
