"""Which files below a folder are images, by their names, and why the others are passed over.

An image is what Pillow decodes by itself, or with a plug-in that has registered its suffix; pillow-heif is registered
here where it is installed. Files and folders that a
system keeps for itself (thumbnails, folder settings, waste baskets) hold no data, whatever their suffixes say.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, NoReturn

from PIL import Image, features

from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault
from csg.messages.text import make_one_line
from csg.messages.waiting import Waiting
from csg.messages.wording import is_or_are, pluralize

USUAL: Final = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".webp")
"""Suffixes that a message names; there are many more."""
NOT_DECODED: Final = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
"""Formats that Pillow recognises, but decodes only with another program's help or as something within something."""
OPTIONAL: Final = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}
"""Formats that Pillow may have been built without, and what it calls their decoders."""
FIRST: Final = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""Formats that a file is compared with before the others, some of which begin in no certain way."""
PLUG_INS: Final = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl"})
"""Suffixes of photographs that Pillow reads once a plug-in has registered them."""
SYSTEM: Final = frozenset(
    {
        *("@eadir", "@tmp", "@__thumb", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),  # network storage
        *("__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS
        *("$recycle.bin", "recycler", "system volume information", "desktop.ini"),  # Windows
        *("thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db"),
        *("lost+found", "__pycache__", "picasa.ini", "zbthumbnail.info"),
    }
)
"""Names of files and folders, in lower case, that systems and programs keep for themselves."""
HIDDEN: Final = (".", "~$")
"""What the names of hidden files begin with."""
OF_SYSTEM: Final = "hidden, or kept by a system for itself"
COMPANION: Final = "published with the images, and not needed"
EXPECTED: Final = (COMPANION, OF_SYSTEM)
"""Reasons of what nobody can have meant to be used."""
CLOSED: Final = "a folder that cannot be listed"
NO_SUFFIX: Final = "no suffix says what it is"
NEEDS_PLUG_IN: Final = "a format that Pillow reads only with a plug-in"
NO_IMAGE: Final = "no image format that is read"


@dataclass(frozen=True)
class Found:
    """A file below a folder, or a folder that cannot be listed."""

    path: Path
    reason: str | None
    """Why it is passed over; None for an image."""


@dataclass(frozen=True)
class _Listed:
    """A folder and what lies in it."""

    place: str
    names: list[str]
    """Of the files; none where it cannot be listed."""
    of_system: bool
    """Whether a system keeps it, or one that it lies in, for itself."""


@dataclass(frozen=True)
class PassedOver:
    """Files of one suffix that are not used, for one reason."""

    suffix: str
    """In lower case, with its dot; empty where there is none."""
    reason: str
    files: int
    example: str
    """The first of them, as a path below the folder."""

    def __str__(self) -> str:
        kind = self.suffix or "without suffix"
        return make_one_line(f"{self.files:,} {kind} ({self.reason}), such as {self.example}")


def list_files(folder: Path | str) -> Iterator[Found]:
    """Yield every file below a folder; links to folders are followed, once each, but not those that a system keeps.

    Raises:
        UserError: ``folder`` is no folder.
        OSError: the machine lacks something, which is no fault of a folder's.
    """
    with wait_for_listing(folder) as waiting:
        listed, closed = _list_folders(folder, waiting)
    suffixes = list_image_suffixes()
    for one in listed:
        for name in one.names:
            of_system = one.of_system or is_of_system(name)
            yield Found(Path(one.place, name), OF_SYSTEM if of_system else _explain(get_suffix(name), suffixes))
    for one in closed:
        yield Found(Path(one.place), OF_SYSTEM if one.of_system else CLOSED)  # lost+found is closed to most


def wait_for_listing(folder: Path | str) -> Waiting:
    """Return what counts the files that are found below a folder while somebody waits."""
    return Waiting("finding files", f"found {{}} files below {folder}")


def _list_folders(folder: Path | str, waiting: Waiting) -> tuple[list[_Listed], list[_Listed]]:
    """List a folder and all below it; return those that could be listed, and those that could not.

    ``waiting`` counts the files, a folder at a time.
    """
    if not Path(folder).is_dir():
        raise UserError(
            f"{folder}: expected a folder with images, found {'a file' if Path(folder).exists() else 'nothing'}"
        )

    def lies_in_system(place: str) -> bool:
        return any(is_of_system(part) for part in Path(place).relative_to(folder).parts)

    seen: set[str] = set()
    listed: list[_Listed] = []
    closed: list[_Listed] = []

    def pass_over(error: OSError) -> None:
        if is_machine_fault(error):
            raise error
        place = os.fsdecode(error.filename)
        closed.append(_Listed(place, [], of_system=lies_in_system(place)))

    for place, folders, names in os.walk(folder, followlinks=True, onerror=pass_over):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        waiting.add(len(names))
        inside = lies_in_system(place)
        folders[:] = sorted(
            name for name in folders if not (inside or is_of_system(name)) or not Path(place, name).is_symlink()
        )
        listed.append(_Listed(place, names, of_system=inside))
    return listed, closed


def list_image_files(folder: Path | str) -> list[Path]:
    """List the image files below a folder, sorted; see :func:`list_files`.

    Raises:
        UserError: ``folder`` is no folder, or one below it cannot be listed.
    """
    return choose_images(list_files(folder))


def list_image_names(folder: Path | str, waiting: Waiting | None = None) -> list[str]:
    """List the image files below a folder as paths below it, in no certain order: of a million in a second.

    ``waiting`` counts all files where several folders are listed one after the other.

    Raises:
        UserError: see :func:`list_image_files`.
    """
    with nullcontext(waiting) if waiting is not None else wait_for_listing(folder) as counting:
        listed, closed = _list_folders(folder, counting)
    for one in closed:
        if not one.of_system:
            _refuse_closed(one.place)
    root = os.path.join(folder, "")  # noqa: PTH118 (as os.walk joins names)
    suffixes = list_image_suffixes()
    found: list[str] = []
    for one in listed:
        if not one.of_system:
            below = os.path.join(one.place, "")[len(root) :]  # noqa: PTH118
            found += [below + name for name in one.names if _is_image(name, suffixes)]
    return found


def _refuse_closed(place: Path | str) -> NoReturn:
    raise UserError(f"{place}: expected a folder that can be listed; change its permissions or remove it")


def choose_images(found: Iterable[Found]) -> list[Path]:
    """Return the images among files, sorted.

    Raises:
        UserError: a folder among them cannot be listed.
    """
    images = []
    for one in found:
        if one.reason == CLOSED:
            _refuse_closed(one.path)
        if one.reason is None:
            images.append(one.path)
    return sorted(images)


def count_passed_over(found: Iterable[Found], folder: Path | str) -> tuple[PassedOver, ...]:
    """Count what is passed over by suffix and reason; what nobody can have meant to be used comes last."""
    left_out = sorted((one for one in found if one.reason is not None), key=lambda one: one.path)
    counts = Counter((get_suffix(one.path.name), str(one.reason)) for one in left_out)
    first: dict[tuple[str, str], Path] = {}
    for one in left_out:
        first.setdefault((get_suffix(one.path.name), str(one.reason)), one.path)
    kinds = sorted(
        counts, key=lambda kind: (EXPECTED.index(kind[1]) if kind[1] in EXPECTED else -1, -counts[kind], kind)
    )
    return tuple(PassedOver(*kind, counts[kind], first[kind].relative_to(folder).as_posix()) for kind in kinds)


def describe_passed_over(kinds: Iterable[PassedOver]) -> str:
    """Put into one line how many files are not used and why; empty where there are none."""
    kinds = tuple(kinds)
    return f"{describe_files(kinds)} not used: {'; '.join(map(str, kinds))}" if kinds else ""


def describe_files(kinds: Iterable[PassedOver]) -> str:
    """Return how many files there are, with the verb: ``3 files are``."""
    files = sum(kind.files for kind in kinds)
    return f"{pluralize(files, 'file')} {is_or_are(files)}"


@lru_cache(maxsize=1)
def register_plug_ins() -> None:
    """Let Pillow read HEIC photographs where the package pillow-heif is installed."""
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()


def list_image_suffixes() -> frozenset[str]:
    """Return the suffixes of files that are taken for images, in lower case, plug-ins' among them."""
    formats = {*list_image_formats(), "MPO"}  # which is opened as JPEG
    return frozenset(suffix.lower() for suffix, name in Image.registered_extensions().items() if name in formats)


def list_image_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are decoded: those that have suffixes, the usual ones first."""
    Image.init()
    register_plug_ins()
    return _choose_formats(tuple(Image.ID), frozenset(Image.EXTENSION.values()))


@lru_cache(maxsize=8)
def _choose_formats(known: tuple[str, ...], with_suffix: frozenset[str]) -> tuple[str, ...]:
    """Choose among the known formats once; for every image it would take longer than to read its header."""
    decoded = [
        name
        for name in known
        if name in with_suffix - NOT_DECODED and (name not in OPTIONAL or bool(features.check(OPTIONAL[name])))
    ]
    return tuple(sorted(decoded, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)))


def is_of_system(name: str) -> bool:
    """Whether a file or a folder of this name is hidden, or kept by a system for itself."""
    return name.startswith(HIDDEN) or name.lower() in SYSTEM


def get_suffix(name: str) -> str:
    """Return what follows a name's last dot, with the dot and in lower case; of a hidden name's first dot nothing."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path a file would double the time)
    return "" if suffix == "." else suffix


def _is_image(name: str, suffixes: frozenset[str]) -> bool:
    """Whether a file is an image by its name, as :func:`list_files` says in three times as long.

    Of the names that a system keeps for itself those alone end as images do that begin in a way of their own.
    """
    return name[name.rfind(".") :].lower() in suffixes and not name.startswith(HIDDEN)


def _explain(suffix: str, suffixes: frozenset[str]) -> str | None:
    if suffix in suffixes:
        return None
    if not suffix:
        return NO_SUFFIX
    return NEEDS_PLUG_IN if suffix in PLUG_INS else NO_IMAGE
