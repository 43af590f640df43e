"""What a file says of its pixels (orientation, transparency, which value is white) reaches the network's input."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin, TiffImagePlugin

from csg.data.fault import BadImageError
from csg.data.reading.decoding import (
    PixelLimit,
    decode,
    decode_stored,
    inspect,
    read_bytes,
    read_resized,
    read_whole,
)
from csg.data.reading.rgb import ORIENTATION, UPRIGHT


def picture(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Draw something of which no turn and no mirror image looks alike."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    pixels = np.stack([x, y, (x + y) / 2, 255 - x / 2], axis=2).astype(np.uint8)
    image = Image.fromarray(pixels)
    if mode in ("RGBA", "LA", "L", "1", "CMYK"):
        return image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)
    if mode == "I;16":
        return Image.fromarray(pixels[:, :, 2].astype(np.uint16) * 257)
    return image.convert("RGB").quantize(16) if mode == "P" else image.convert("RGB")


def tag(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif


def exif_of(kind: int, value: bytes, *, count: int = 1, behind: bytes = b"") -> bytes:
    """Write EXIF data whose one entry is an orientation of any type."""
    entry = struct.pack("<HHI", ORIENTATION, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0" + behind


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*, width: int, depth: int, colour: int, row: bytes, chunks: Sequence[bytes] = (), late: bytes = b"") -> bytes:
    """Write a PNG file of 32 equal rows, with chunks before the pixels and one behind them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 32, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * 32))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + late + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *((".png", mode) for mode in ("RGB", "RGBA", "LA", "L", "P", "1", "I;16")),
        *((".tif", mode) for mode in ("RGB", "RGBA", "LA", "L", "P", "1", "I;16", "CMYK")),
        *((".webp", mode) for mode in ("RGB", "RGBA")),
    ],
)
def test_a_turned_image_is_seen_as_the_upright_one(tmp_path: Path, suffix: str, mode: str) -> None:
    kept: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    for orientation, turn in UPRIGHT.items():
        turned, upright = tmp_path / f"turned{orientation}{suffix}", tmp_path / f"upright{orientation}{suffix}"
        picture(mode).save(turned, exif=tag(orientation), **kept)
        picture(mode).transpose(turn).save(upright, **kept)
        assert torch.equal(read_resized(turned, 32)[0], read_resized(upright, 32)[0]), orientation
        full, expected = (np.array(read_whole(path)[0]) for path in (turned, upright))
        assert np.array_equal(full, expected), orientation
        assert inspect(turned, read_bytes(turned)) == inspect(upright, read_bytes(upright))


def test_transparent_palette_images_are_turned_too(tmp_path: Path) -> None:
    colours = picture("P")
    clear = np.asarray(colours)[0, 0]
    colours.save(tmp_path / "turned.png", exif=tag(6), transparency=int(clear))
    colours.transpose(UPRIGHT[6]).save(tmp_path / "upright.png", transparency=int(clear))
    image = read_resized(tmp_path / "turned.png", 32)[0]
    assert torch.equal(image, read_resized(tmp_path / "upright.png", 32)[0]) and image[:, 0, -1].max() == 0


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "RGB"), ("a.jpg", "L"), ("a.jpg", "CMYK"), ("a.mpo", "RGB")])
@pytest.mark.parametrize("side", [32, 8, 100])
def test_photographs_are_turned_at_every_scale_of_their_decoding(
    tmp_path: Path, name: str, mode: str, side: int
) -> None:
    more: dict[str, Any] = {"save_all": True, "append_images": [picture()]} if name == "a.mpo" else {}
    picture(mode, (501, 200)).save(tmp_path / f"plain.{name}", **more)
    plain = read_resized(tmp_path / f"plain.{name}", side)[0]
    assert plain.shape[1:] == (side, round(501 * side / 200))
    for orientation, turn in UPRIGHT.items():
        path = tmp_path / f"{orientation}.{name}"
        picture(mode, (501, 200)).save(path, exif=tag(orientation), **more)
        expected = np.array(Image.fromarray(plain.permute(1, 2, 0).numpy()).transpose(turn)).astype(int)
        found = read_resized(path, side)[0].permute(1, 2, 0).numpy()
        assert found.shape == expected.shape and abs(found - expected).max() <= 2, orientation


def test_an_orientation_behind_the_pixels_is_found(tmp_path: Path) -> None:
    late = chunk(b"eXIf", exif_of(3, b"\x06\0")[6:])
    (tmp_path / "a.png").write_bytes(png(width=64, depth=8, colour=0, row=bytes(range(64)), late=late))
    assert read_resized(tmp_path / "a.png", 32)[0].shape == (3, 64, 32)
    assert inspect(tmp_path / "a.png", read_bytes(tmp_path / "a.png")).size == (32, 64)


UNREADABLE = {
    "bytes": exif_of(7, b"6"),
    "byte 6": exif_of(1, b"\x06"),
    "text": exif_of(2, b"6\0", count=2),
    "no number of the eight": exif_of(3, b"\x09\0"),
    "zero": exif_of(3, b"\0\0"),
    "negative": exif_of(8, struct.pack("<h", -6)),
    "fraction": exif_of(5, struct.pack("<I", 26), behind=struct.pack("<II", 6, 1)),
    "division by zero": exif_of(5, struct.pack("<I", 26), behind=struct.pack("<II", 6, 0)),
    "float": exif_of(11, struct.pack("<f", 6.0)),
    "unknown type": exif_of(99, b"6"),
    "out of the file": exif_of(5, struct.pack("<I", 99_999)),
    "billions": exif_of(3, struct.pack("<I", 26), count=4_000_000_000),
    "cut short": exif_of(3, b"\x06\0")[:14],
    "other data": b"Exif\0\0junkjunk",
    "nothing": b"Exif\0\0",
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_orientation_that_is_no_number_counts_as_upright(
    tmp_path: Path, kind: str, suffix: str, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / f"a{suffix}"
    picture().save(path, exif=UNREADABLE[kind])
    assert inspect(path, read_bytes(path)).size == (96, 64)
    assert read_resized(path, 32)[0].shape == (3, 32, 48)
    assert read_whole(path)[0].size == (96, 64)
    assert decode_stored(path, read_bytes(path))[1] == 1


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_an_orientation_in_xmp_turns_an_image_that_has_none_in_exif(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    how: dict[str, dict[str, Any]] = {
        ".png": {"pnginfo": text},
        ".tif": {"tiffinfo": {700: xmp}},
        ".webp": {"xmp": xmp},
    }
    picture(size=(120, 40)).save(path, **how[suffix])
    assert inspect(path, read_bytes(path)).size == (40, 120)
    assert read_resized(path, 32)[0].shape == (3, 96, 32)


@pytest.mark.parametrize("value", [b"6", "6"])
def test_a_tiff_tag_that_is_no_number_counts_as_upright(tmp_path: Path, value: bytes | str) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[ORIENTATION] = 7 if isinstance(value, bytes) else 2
    tags[ORIENTATION] = value
    picture().save(tmp_path / "a.tif", tiffinfo=tags)
    assert inspect(tmp_path / "a.tif", read_bytes(tmp_path / "a.tif")).size == (96, 64)
    assert read_resized(tmp_path / "a.tif", 32)[0].shape == (3, 32, 48)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "clear", "shown"),
    [
        (1, 0, b"\xaa" * 4, b"\0\1", 0),
        (2, 0, b"\xaa" * 8, b"\0\2", 0),
        (2, 0, b"\xaa" * 8, b"\0\1", 170),
        (4, 0, b"\xaa" * 16, b"\0\x0a", 0),
        (8, 0, b"\xaa" * 32, b"\0\xaa", 0),
        (16, 0, b"\xaa\x11" * 32, b"\xaa\x11", 0),
        (16, 0, b"\xaa\x11" * 32, b"\xaa\x12", 170),
        (8, 2, b"\xaa" * 96, b"\0\xaa" * 3, 0),
        (16, 2, b"\xaa\x11" * 96, b"\xaa\x11" * 3, 0),
    ],
)
def test_a_colour_that_a_png_file_declares_transparent_is_black(
    tmp_path: Path, depth: int, colour: int, row: bytes, clear: bytes, shown: int
) -> None:
    content = png(width=32, depth=depth, colour=colour, row=row, chunks=[chunk(b"tRNS", clear)])
    (tmp_path / "a.png").write_bytes(content)
    image = decode(tmp_path / "a.png", 32)
    assert set(image[:, :, 0].flatten().tolist()) == {shown}


@pytest.mark.parametrize(("order", "white"), [("<", 0xFFFF), (">", 0xFFFF), ("<", 0)])
def test_grey_of_16_bits_is_read_in_either_byte_order_and_with_either_end_white(
    tmp_path: Path, order: str, white: int
) -> None:
    entries = [(256, 32), (257, 32), (258, 16), (259, 1), (262, 1 if white else 0), (273, 122), (277, 1), (278, 32)]
    ifd = b"".join(struct.pack(f"{order}HHIHH", name, 3, 1, value, 0) for name, value in [*entries, (279, 2048)])
    begin = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 9)
    content = begin + ifd + b"\0\0\0\0" + np.full(1024, 200 * 256, dtype=f"{order}u2").tobytes()
    (tmp_path / "a.tif").write_bytes(content)
    assert Image.open(io.BytesIO(content)).mode == ("I;16" if order == "<" else "I;16B")
    assert set(decode(tmp_path / "a.tif", 32).flatten().tolist()) == {200 if white else 55}


@pytest.mark.parametrize(
    ("bits", "value", "grey"), [(16, 65535, 255), (12, 4095, 255), (12, 2048, 128), (10, 512, 128)]
)
def test_grey_of_fewer_than_16_bits_is_scaled_by_those_that_it_uses(
    tmp_path: Path, bits: int, value: int, grey: int
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((40, 40), value, dtype=np.uint16)).save(path)
    assert set(decode(path, 32, PixelLimit(grey_bits=bits)).flatten().tolist()) == {grey}


def test_a_grey_value_beyond_the_bits_that_are_said_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((40, 40), 4096, dtype=np.uint16)).save(path)
    with pytest.raises(BadImageError, match=r"a grey value of 4,096, where data\.grey_bits=12 means 4,095 for white"):
        decode(path, 32, PixelLimit(grey_bits=12))
