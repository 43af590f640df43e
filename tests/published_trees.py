"""Trees of images in exactly the published layouts, a few images a class, and faults to plant in them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from csg.randomness import make_generator

VISDA17_CLASSES = (
    *("aeroplane", "bicycle", "bus", "car", "horse", "knife"),
    *("motorcycle", "person", "plant", "skateboard", "train", "truck"),
)
LIST = "image_list.txt"


def write_image(path: Path, label: int, number: int, *, real: bool) -> None:
    """Stripes whose direction and colour tell the class; a real image is duller, noisier and of another size."""
    rng = make_generator(0, "published tree", str(path.name), label, number, int(real))
    width, height = (int(side) for side in rng.integers(40, 72, size=2))
    y, x = np.mgrid[:height, :width]
    angle = np.pi * (label % 6) / 6
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / 4 + rng.uniform(0, 6))
    colour = np.array([1.0, 0.4, 0.2] if label < 6 else [0.2, 0.5, 1.0])
    pixels = (
        128 + (40 if real else 90) * wave[..., None] * colour + rng.normal(0, 20 if real else 4, (height, width, 3))
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_visda17(root: Path, *, per_class: int = 4, real: Sequence[str] = ("validation",)) -> Path:
    """Write ``train/`` and the folders of real images named, each with its ``image_list.txt``.

    Renders lie in a folder a class; so do the validation images, while the test images lie in folders of trunks.
    """
    for split in ("train", *real):
        lines = []
        for label, name in enumerate(VISDA17_CLASSES):
            for number in range(per_class):
                relative = {
                    "train": f"{name}/src_1_{label:02d}{number:04d}__0_38_-166_-165_155.png",
                    "validation": f"{name}/{name}_{number:06d}.jpg",
                    "test": f"trunk{(label + number) % 3:02d}/{label * per_class + number:010d}.jpg",
                }[split]
                write_image(root / split / relative, label, number, real=split != "train")
                lines.append(f"{relative} {label}\n")
        (root / split / LIST).write_text("".join(lines))
    return root


def write_folders(
    root: Path, classes: Sequence[str] = ("car", "street sign", "vélo"), *, per_class: int = 5
) -> tuple[Path, Path]:
    """Write ``renders/`` and ``photographs/`` with one sub-folder a class."""
    for side, suffix in (("renders", ".png"), ("photographs", ".JPG")):
        for label, name in enumerate(classes):
            for number in range(per_class):
                write_image(root / side / name / f"image {number}{suffix}", label, number, real=side != "renders")
    return root / "renders", root / "photographs"


def write_photographs(folder: Path, *, images: int = 9, nested: bool = False) -> Path:
    """Write photographs of three classes that no name and no folder tells, in one folder or in a folder a day."""
    for number in range(images):
        below = f"2024/day {number % 2}" if nested else "."
        write_image(folder / below / f"DSC{number:04}.JPG", number % 3, number, real=True)
    return folder


def write_shards(folder: Path, images: Path, *, labels: str = "cls", per_shard: int = 7) -> Path:
    """Write what lies in class folders as WebDataset does: ``KEY.png`` and ``KEY.cls`` or ``KEY.json``, or no label."""
    folder.mkdir(parents=True)
    paths = sorted(path for path in images.rglob("*") if path.is_file())
    names = sorted({path.parent.name for path in paths})
    if labels == "cls":
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for start in range(0, len(paths), per_shard):
        with tarfile.open(folder / f"shard-{start // per_shard:06d}.tar", "w") as shard:
            for number, path in enumerate(paths[start : start + per_shard], start=start):
                shard.add(path, f"{number:08d}{path.suffix.lower()}")
                name = path.parent.name
                content = {"cls": str(names.index(name)), "json": json.dumps({"label": name}), "": ""}[labels]
                if labels:
                    member = tarfile.TarInfo(f"{number:08d}.{labels}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content.encode()))
    return folder


def _edit_list(folder: Path, edit: Callable[[list[str]], list[str]]) -> None:
    lines = (folder / LIST).read_text().splitlines()
    (folder / LIST).write_text("".join(line + "\n" for line in edit(lines)))


def _find_listed(folder: Path, line: int) -> Path:
    return folder / (folder / LIST).read_text().splitlines()[line].rsplit(None, 1)[0]


def _cut_short(path: Path) -> str:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return str(path)


def _flip_a_bit(path: Path) -> str:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    return str(path)


def _overwrite(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def _remove(path: Path) -> str:
    path.unlink()
    return str(path)


def _make_a_folder(path: Path) -> str:
    path.unlink()
    path.mkdir()
    return str(path)


def _make_thin(path: Path) -> str:
    Image.new("RGB", (300, 2)).save(path)
    return str(path)


def _add_unlisted(folder: Path) -> str:
    path = folder / "car" / "nobody knows me.png"
    write_image(path, 3, 99, real=True)
    return str(path)


def _add_line(folder: Path, line: str) -> str:
    _edit_list(folder, lambda lines: [*lines, line])
    return f"{folder / LIST}:{len((folder / LIST).read_text().splitlines())}"


def _change_line(folder: Path, line: int, change: Callable[[str], str]) -> str:
    _edit_list(folder, lambda lines: [*lines[:line], change(lines[line]), *lines[line + 1 :]])
    return f"{folder / LIST}:{line + 1}"


def _relabelled(label: str) -> Callable[[str], str]:
    return lambda line: f"{line.rsplit(None, 1)[0]} {label}".rstrip()


def _keep_of_class(folder: Path, label: int, images: int) -> list[Path]:
    """Remove the images of a class, and their lines, but for the first ``images``, which are returned."""
    lines = (folder / LIST).read_text().splitlines()
    mine = [line for line in lines if line.rsplit(None, 1)[1] == str(label)]
    for line in mine[images:]:
        (folder / line.rsplit(None, 1)[0]).unlink()
    _edit_list(folder, lambda _: [line for line in lines if line not in mine[images:]])
    return [folder / line.rsplit(None, 1)[0] for line in mine[:images]]


def _drop_class(folder: Path, label: int) -> str:
    _keep_of_class(folder, label, images=0)
    return str(folder / LIST)


FAULTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "class without images": ("class without images", lambda root: _drop_class(root / "validation", 11)),
    "class with one image": ("class with one image", lambda root: str(_keep_of_class(root / "validation", 10, 1)[0])),
    "PNG cut short": ("bad image", lambda root: _cut_short(_find_listed(root / "train", 0))),
    "JPEG cut short": ("bad image", lambda root: _cut_short(_find_listed(root / "validation", 0))),
    "bit flipped in a PNG": ("bad image", lambda root: _flip_a_bit(_find_listed(root / "train", 5))),
    "empty file": ("bad image", lambda root: _overwrite(_find_listed(root / "train", 9), b"")),
    "text named .png": ("bad image", lambda root: _overwrite(_find_listed(root / "train", 13), b"404 not found\n")),
    "folder named .png": ("bad image", lambda root: _make_a_folder(_find_listed(root / "train", 17))),
    "degenerate image": ("bad image", lambda root: _make_thin(_find_listed(root / "train", 21))),
    "listed but absent": ("listed but absent", lambda root: _remove(_find_listed(root / "validation", 5))),
    "present but not listed": ("present but not listed", lambda root: _add_unlisted(root / "train")),
    "label out of range": ("unknown class", lambda root: _add_line(root / "train", "car/new.png 12")),
    "negative label": ("unknown class", lambda root: _add_line(root / "validation", "car/new.jpg -1")),
    "line without a label": ("malformed line", lambda root: _add_line(root / "validation", "car/my car.png")),
    "listed image with a label out of range": (
        "unknown class",
        lambda root: _change_line(root / "train", 29, _relabelled("12")),
    ),
    "listed image without a label": ("malformed line", lambda root: _change_line(root / "train", 33, _relabelled(""))),
    "label of another folder": (
        "label against folder",
        lambda root: _change_line(root / "train", 37, _relabelled("2")),
    ),
    "path into the other domain": (
        "path outside the folder",
        lambda root: _add_line(root / "train", f"../{_find_listed(root / 'validation', 2).relative_to(root)} 0"),
    ),
    "path from the root": (
        "path outside the folder",
        lambda root: _add_line(root / "train", f"{_find_listed(root / 'validation', 3).absolute()} 0"),
    ),
    "label in words": ("malformed line", lambda root: _add_line(root / "train", "car/new.png car")),
    "line twice": (
        "repeated line",
        lambda root: _add_line(root / "train", (root / "train" / LIST).read_text().splitlines()[2]),
    ),
    "path with two labels": (
        "two classes",
        lambda root: _add_line(
            root / "validation", f"{_find_listed(root / 'validation', 9).relative_to(root / 'validation')} 7"
        ),
    ),
}
"""What is planted: the kind that a check gives it, and what plants it in a VisDA-17 tree and returns its place.
Planted in this order, all of them keep their places."""


def visda17_flags(root: Path) -> list[str]:
    """Return flags under which a search or a training on such a tree takes seconds."""
    return [
        *("--data.name", "visda17", "--data.root", str(root), "--data.image-size", "32", "--train.batch-size", "8"),
        *("--train.epochs", "1", "--method.queue-size", "16", "--method.projection-width", "8"),
    ]
