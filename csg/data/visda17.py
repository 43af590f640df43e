"""VisDA-17, classification track: synthetic renders -> real photographs of twelve classes.

The layout is the published one: ``train/`` (renders), ``validation/`` and ``test/`` (real), each with an
``image_list.txt`` of lines ``relative/path.png label``. The lists are honoured: what they do not name is not used.
"""

from __future__ import annotations

import dataclasses
import os
import posixpath
import re
from pathlib import Path
from typing import Final, Literal

from csg.config import ConfigError, DataConfig
from csg.data.domain import Domain, Fault, missing_classes
from csg.data.files import ImageFiles

CLASSES: Final = (
    *("aeroplane", "bicycle", "bus", "car", "horse", "knife"),
    *("motorcycle", "person", "plant", "skateboard", "train", "truck"),
)
"""In label order."""
LIST: Final = "image_list.txt"
SOURCE: Final = "train"
TRAIN_IMAGES: Final = 152_397
"""In the published ``train/``."""


def title(config: DataConfig) -> str:
    """Say which images they are."""
    return f"synthetic renders -> real photographs (VisDA-17, {config.target_split}/)"


def read(config: DataConfig) -> tuple[Domain, Domain]:
    """Read the lists of ``train/`` and of the real images that ``data.target_split`` names.

    Raises:
        ConfigError: ``data.root`` or a folder or list file below it is missing.
    """
    if config.root is None:
        raise ConfigError(
            f"data.root: expected the folder that holds {SOURCE}/ and {config.target_split}/, found none; "
            "set --data.root DIR"
        )
    root = Path(config.root)
    if not root.is_dir():
        raise ConfigError(
            f"data.root: expected a folder with {SOURCE}/ and {config.target_split}/, found "
            f"{'a file' if root.exists() else 'nothing'} at {root}"
        )
    return (
        _read_domain(root / SOURCE, "source", allow_missing=config.allow_missing_classes),
        _read_domain(root / config.target_split, "target", allow_missing=config.allow_missing_classes),
    )


def _read_domain(folder: Path, side: Literal["source", "target"], *, allow_missing: bool) -> Domain:
    path = folder / LIST
    if not folder.is_dir():
        raise ConfigError(f"data.root: expected the folder {folder.name}/ with the {side} images, found none: {folder}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"data.root: expected a list of lines 'relative/path.png label', cannot read {path} ({error.strerror})"
        ) from None
    labels, faults = parse_list(content, str(path))
    domain = Domain(side, CLASSES, ImageFiles.of(str(folder), labels), tuple(faults), listed_in=LIST)
    if allow_missing and labels:
        return domain
    return dataclasses.replace(domain, faults=(*faults, *missing_classes(domain)))


def parse_list(content: bytes, place: str) -> tuple[dict[str, int], list[Fault]]:
    """Read the lines ``relative/path label``; a path may hold blanks, and lines may end as on Windows.

    Args:
        content: of the list file.
        place: the list file's name, for faults.

    Returns:
        The class of every path, and what is wrong with the lines. A path that is listed with two classes keeps the
        first.
    """
    labels: dict[str, int] = {}
    first_lines: dict[str, int] = {}
    faults: list[Fault] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not line.strip():
            continue
        name, label, fault = _parse_line(line)
        at = f"{place}:{number}"
        if fault is not None:
            faults.append(Fault(fault[0], at, fault[1]))
        elif labels.get(name, label) != label:
            reason = f"{name} is listed with class {label} here and {labels[name]} in line {first_lines[name]}"
            faults.append(Fault("two classes", at, reason))
        elif name in labels:
            reason = f"{name} was listed before, in line {first_lines[name]}; it counts once"
            faults.append(Fault("repeated line", at, reason))
        else:
            labels[name], first_lines[name] = label, number
    return labels, faults


def _parse_line(line: bytes) -> tuple[str, int, tuple[Literal["malformed line", "unknown class"], str] | None]:
    """Return path and label; and, where there is something wrong, what."""
    shown = os.fsdecode(line.strip())
    parts = line.rsplit(None, 1)
    if len(parts) != 2 or not re.fullmatch(rb"[+-]?\d+", parts[1]):
        return "", 0, ("malformed line", f"expected 'relative/path.png label', found {shown!r}")
    name, label = posixpath.normpath(os.fsdecode(parts[0].strip())), int(parts[1])
    if not 0 <= label < len(CLASSES):
        return name, label, ("unknown class", f"expected a label of 0 to {len(CLASSES) - 1}, found {label}: {shown}")
    return name, label, None


def published_train_images(config: DataConfig) -> int:
    """Return how many synthetic images the published data leave for training, before classes are rounded."""
    return config.source_images or TRAIN_IMAGES - round(config.source_val_fraction * TRAIN_IMAGES)
