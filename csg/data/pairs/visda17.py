"""VisDA-17, classification track: synthetic renders -> real photographs of twelve classes.

The layout is the published one: ``train/`` (renders), ``validation/`` and ``test/`` (real), each with an
``image_list.txt`` of lines ``relative/path.png label``. The lists are honoured: what they do not name is not used, and
a label counts even where the path lies in another class's folder. A path must stay below its own folder, or images of
one domain could enter the other.
"""

from __future__ import annotations

import dataclasses
import os
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from csg.config import DataConfig
from csg.data.domain import Domain, find_missing_classes
from csg.data.fault import Fault, Kind
from csg.data.reading.cache import get_cache_folder
from csg.data.reading.decoding import PixelLimit
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.spelling import make_speller
from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault

CLASSES: Final = (
    *("aeroplane", "bicycle", "bus", "car", "horse", "knife"),
    *("motorcycle", "person", "plant", "skateboard", "train", "truck"),
)
"""In label order."""
LIST: Final = "image_list.txt"
SOURCE: Final = "train"
TRAIN_IMAGES: Final = 152_397
"""In the published ``train/``."""


def describe_images(config: DataConfig) -> str:
    """Say which images they are."""
    return f"synthetic renders -> real photographs (VisDA-17, {config.target_split}/)"


def read(config: DataConfig) -> tuple[Domain, Domain]:
    """Read the lists of ``train/`` and of the real images that ``data.target_split`` names.

    Raises:
        UserError: ``data.root`` or a folder or list file below it is missing.
    """
    if config.root is None:
        raise UserError(
            f"data.root: expected the folder that holds {SOURCE}/ and {config.target_split}/, found none; "
            "set --data.root DIR"
        )
    root = Path(config.root)
    if not root.is_dir():
        raise UserError(
            f"data.root: expected a folder with {SOURCE}/ and {config.target_split}/, found "
            f"{'a file' if root.exists() else 'nothing'} at {root}"
        )
    return _read_domain(root / SOURCE, "source", config), read_target(config)


def read_target(config: DataConfig) -> Domain:
    """Read the list of the real images that ``data.target_split`` names.

    Raises:
        UserError: ``data.root`` or the folder or its list file is missing.
    """
    if config.root is None:
        raise UserError(f"data.root: expected the folder that holds {config.target_split}/, found none; set it")
    return _read_domain(Path(config.root) / config.target_split, "target", config)


def _read_domain(folder: Path, side: Literal["source", "target"], config: DataConfig) -> Domain:
    path = folder / LIST
    if not folder.is_dir():
        raise UserError(f"data.root: expected the folder {folder.name}/ with the {side} images, found none: {folder}")
    wanted = "data.root: expected a list of lines 'relative/path.png label'"
    if path.exists() and not path.is_file():  # reading a pipe would never end
        raise UserError(f"{wanted}, found a folder, a pipe or a device at {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise UserError(f"{wanted}, cannot read {path} ({error.strerror})") from error
    listing = parse_list(content, str(path), make_speller(folder))
    limit = PixelLimit.of(config)
    files = ImageFiles.of(str(folder), listing.labels, cache=get_cache_folder(config), limit=limit)
    domain = Domain(side, CLASSES, files, listing.faults, listed_in=LIST, set_aside=listing.set_aside)
    if config.allow_missing_classes and listing.labels:
        return domain
    return dataclasses.replace(domain, faults=(*domain.faults, *find_missing_classes(domain)))


@dataclass(frozen=True)
class Listing:
    """What a list file says."""

    labels: dict[str, int]
    """The class of every path that is used; of a path that is listed with two classes the first."""
    faults: tuple[Fault, ...]
    """What is wrong with the lines."""
    set_aside: frozenset[str]
    """What the lines that are not used name, or may mean, by a path."""


def parse_list(content: bytes, place: str, spell: Callable[[str], str] = str) -> Listing:
    """Read the lines ``relative/path label``; a path may hold blanks, and lines may end as on Windows.

    Args:
        content: of the list file.
        place: the list file's name, for faults.
        spell: turns a path into the same path as it is spelt on disk.
    """
    labels: dict[str, int] = {}
    first_lines: dict[str, int] = {}
    faults: list[Fault] = []
    set_aside: set[str] = set()
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not line.strip():
            continue
        name, label, fault = _parse_line(line)
        name = spell(name)
        at = f"{place}:{number}"
        if fault is not None:
            faults.append(Fault(fault[0], at, fault[1]))
            set_aside |= {name, spell(_parse_path(line))}
        elif labels.get(name, label) != label:
            reason = f"{name} is listed with class {label} here and {labels[name]} in line {first_lines[name]}"
            faults.append(Fault("two classes", at, reason))
        elif name in labels:
            reason = f"{name} was listed before, in line {first_lines[name]}; it counts once"
            faults.append(Fault("repeated line", at, reason))
        else:
            labels[name], first_lines[name] = label, number
            faults += _compare_with_folder(name, label, at)
    return Listing(labels, tuple(faults), frozenset(set_aside))


def _parse_line(line: bytes) -> tuple[str, int, tuple[Kind, str] | None]:
    """Return path and label; and, where there is something wrong, what."""
    shown = os.fsdecode(line.strip())
    parts = line.rsplit(None, 1)
    name = _parse_path(parts[0])
    if len(parts) != 2 or not re.fullmatch(rb"[+-]?\d+", parts[1]) or b"\0" in line:
        return name, 0, ("malformed line", f"expected 'relative/path.png label', found {shown!r}")
    label = int(parts[1])
    if not 0 <= label < len(CLASSES):
        return name, label, ("unknown class", f"expected a label of 0 to {len(CLASSES) - 1}, found {label}: {shown}")
    if posixpath.isabs(name) or name.split("/", 1)[0] == "..":
        return name, label, ("path outside the folder", f"expected a path below the list's own folder, found {shown!r}")
    return name, label, None


def _parse_path(text: bytes) -> str:
    return posixpath.normpath(os.fsdecode(text.strip()))


def _compare_with_folder(name: str, label: int, at: str) -> list[Fault]:
    """Return a fault if a path lies in the folder of a class that is not its label's; the published test/ has none."""
    folder, _, below = name.partition("/")
    if not below or folder not in CLASSES or folder == CLASSES[label]:
        return []
    reason = f"{name} lies in the folder {folder}/ and is listed with class {label} ({CLASSES[label]}), which counts"
    return [Fault("label against folder", at, reason)]


def count_published_train_images(config: DataConfig) -> int:
    """Return how many synthetic images the published data leave for training, before classes are rounded."""
    return config.source_images or TRAIN_IMAGES - round(config.source_val_fraction * TRAIN_IMAGES)
