"""Names that look the same are the same: letters with marks may be stored composed (NFC) or decomposed (NFD).

Which it is depends on the system that wrote a name. Names are compared composed; files are opened as they are spelt on
disk.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path


def compose_letters(name: str) -> str:
    """Return a name with its letters composed, by which it is compared and shown."""
    return unicodedata.normalize("NFC", name)


def place_in_order(name: str) -> tuple[bytes, bytes]:
    """Return what names of files are sorted by: the order is the same however their letters are stored."""
    stored = os.fsencode(name)
    return (stored if name.isascii() else os.fsencode(compose_letters(name))), stored


def find_near(name: str, others: Iterable[str]) -> str | None:
    """Return another name that differs in nothing but case, blanks, hyphens and underscores; None if there is none."""
    return next((other for other in others if other != name and _fold(other) == _fold(name)), None)


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold())


def make_speller(folder: Path) -> Callable[[str], str]:
    """Return what turns a relative path into the same path as it is spelt below a folder; one that is not there stays.

    Every folder on the way is listed once, and only for names that may be spelt in two ways.
    """
    listed: dict[Path, dict[str, str]] = {}

    def spell(name: str) -> str:
        if name.isascii() or "\0" in name or os.path.isabs(name) or (folder / name).exists():  # noqa: PTH117
            return name
        place = folder
        for part in Path(name).parts:
            if place not in listed:
                inside = os.listdir(place) if place.is_dir() else []  # noqa: PTH208 (names, not paths)
                listed[place] = {compose_letters(one): one for one in sorted(inside)}
            on_disk = part if (place / part).exists() else listed[place].get(compose_letters(part))
            if on_disk is None:
                return name
            place /= on_disk
        return str(place.relative_to(folder))

    return spell
