"""GTA5 and Cityscapes in exactly the published layouts, a few small images a side, and faults to plant in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from csg.randomness import make_generator

IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' labelIds of the nineteen classes."""
CITIES = {"train": ("aachen", "bochum"), "val": ("frankfurt", "lindau")}
SMALL = (48, 36)
"""Width and height."""


def draw_ids(number: int, size: tuple[int, int], *, plate: int) -> npt.NDArray[np.uint8]:
    """Blocks of ids at random, every class and some void somewhere; ``plate`` is the id of a licence plate."""
    rng = make_generator(0, "published maps", number)
    ids = np.array([*IDS, 0, 4, plate], dtype=np.uint8)
    coarse = rng.permutation(np.concatenate([ids, rng.choice(ids, 30 - len(ids))])).reshape(5, 6)
    rows, columns = (np.arange(length) * cells // length for length, cells in zip(size[::-1], (5, 6), strict=True))
    return coarse[np.ix_(rows, columns)]


def draw_picture(ids: npt.NDArray[np.uint8], *, real: bool) -> Image.Image:
    """Show each id in a colour of its own, duller where it is ``real``."""
    colours = make_generator(1, "published maps").integers(0, 256, size=(256, 3))[ids]
    return Image.fromarray((colours // 2 + 64 if real else colours).astype(np.uint8))


def write_gta5(root: Path, *, images: int = 8, size: tuple[int, int] = SMALL) -> Path:
    """Write ``images/NNNNN.png`` and ``labels/NNNNN.png``, the labels with a palette, as released."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(1, images + 1):
        ids = draw_ids(number, size, plate=34)
        draw_picture(ids, real=False).save(root / "images" / f"{number:05d}.png")
        label = Image.fromarray(ids)
        label.putpalette(make_generator(2, "palette").integers(0, 256, size=768).tolist())
        label.save(root / "labels" / f"{number:05d}.png")
    return root


def write_cityscapes(
    root: Path, *, train: int = 6, val: int = 4, size: tuple[int, int] = SMALL, labels: str = "labelIds"
) -> Path:
    """Write ``leftImg8bit/`` and ``gtFine/``, with files of other endings that no one asks for."""
    for split, images in (("train", train), ("val", val)):
        for number in range(images):
            city = CITIES[split][number % 2]
            stem = f"{city}_{number:06d}_000019"
            picture = root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
            start = root / "gtFine" / split / city / f"{stem}_gtFine_"
            for path in (picture, start):
                path.parent.mkdir(parents=True, exist_ok=True)
            ids = draw_ids(100 * (split == "val") + 50 + number, size, plate=255)
            draw_picture(ids, real=True).save(picture)
            Image.fromarray(ids if labels == "labelIds" else to_train_ids(ids)).save(f"{start}{labels}.png")
            Image.new("RGBA", size).save(f"{start}color.png")
            Path(f"{start}polygons.json").write_text("{}")
    return root


def to_train_ids(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Map labelIds to trainIds, one after the other."""
    found = np.full_like(ids, 255)
    for label, one in enumerate(IDS):
        found[ids == one] = label
    return found


def write_maps(root: Path) -> tuple[Path, Path]:
    """Write both sides."""
    return write_gta5(root / "gta5"), write_cityscapes(root / "cityscapes")


def gta5(root: Path, folder: str, number: int) -> Path:
    """Return the path of a file of GTA5."""
    return root / "gta5" / folder / f"{number:05d}.png"


def cityscapes(root: Path, split: str, number: int, *, end: str = "labelIds") -> Path:
    """Return the path of a file of Cityscapes."""
    city = CITIES[split][number % 2]
    kind, end = ("leftImg8bit", "leftImg8bit") if end == "leftImg8bit" else ("gtFine", f"gtFine_{end}")
    return root / "cityscapes" / kind / split / city / f"{city}_{number:06d}_000019_{end}.png"


def _remove(path: Path) -> None:
    path.unlink()


def _make_smaller(path: Path) -> None:
    """Save a label file at half its size, still with its palette."""
    label = Image.open(path)
    label.resize((SMALL[0] // 2, SMALL[1] // 2), Image.Resampling.NEAREST).save(path)


def _paint(path: Path, value: int) -> None:
    ids = np.array(Image.open(path))
    ids[3, 5] = value
    Image.fromarray(ids).save(path)


def _cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def _colour(path: Path) -> None:
    Image.open(path).convert("RGB").save(path)


MAP_FAULTS: dict[str, tuple[str, Callable[[Path], Path], Callable[[Path], None], Callable[[Path], Path]]] = {
    name: (kind, find, plant, place or find)
    for name, kind, find, plant, place in (
        ("size of a GTA5 label", "size mismatch", lambda root: gta5(root, "labels", 2), _make_smaller, None),
        ("size in Cityscapes", "size mismatch", lambda root: cityscapes(root, "val", 1), _make_smaller, None),
        (
            "GTA5 label missing",
            "image without label map",
            lambda root: gta5(root, "labels", 3),
            _remove,
            lambda root: gta5(root, "images", 3),
        ),
        (
            "Cityscapes label missing",
            "image without label map",
            lambda root: cityscapes(root, "train", 2),
            _remove,
            lambda root: cityscapes(root, "train", 2, end="leftImg8bit"),
        ),
        (
            "GTA5 image missing",
            "label map without image",
            lambda root: gta5(root, "images", 4),
            _remove,
            lambda root: gta5(root, "labels", 4),
        ),
        (
            "Cityscapes image missing",
            "label map without image",
            lambda root: cityscapes(root, "val", 2, end="leftImg8bit"),
            _remove,
            lambda root: cityscapes(root, "val", 2),
        ),
        (
            "unknown id",
            "unknown label id",
            lambda root: gta5(root, "labels", 5),
            lambda path: _paint(path, 77),
            None,
        ),
        ("image cut short", "bad image", lambda root: gta5(root, "images", 6), _cut_short, None),
        ("label cut short", "bad image", lambda root: cityscapes(root, "train", 3), _cut_short, None),
        ("label in colours", "bad image", lambda root: gta5(root, "labels", 7), _colour, None),
        (
            "empty label",
            "bad image",
            lambda root: cityscapes(root, "train", 4),
            lambda path: path.write_bytes(b"") and None,
            None,
        ),
        (
            "text for an image",
            "bad image",
            lambda root: cityscapes(root, "val", 3, end="leftImg8bit"),
            lambda path: path.write_text("404 not found") and None,
            None,
        ),
    )
}
"""What is planted: the kind that a check gives it, the file that is changed, how, and where it is reported."""


def plant_map_fault(root: Path, name: str) -> tuple[str, str]:
    """Plant a fault below a folder that :func:`write_maps` has filled; return its kind and place."""
    kind, find, plant, place = MAP_FAULTS[name]
    reported = str(place(root))
    plant(find(root))
    return kind, reported
