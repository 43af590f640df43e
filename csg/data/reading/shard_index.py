"""Shards: ``.tar`` files as WebDataset writes them, with ``KEY.jpg`` beside ``KEY.cls`` or ``KEY.json``.

A shard is read through once, for where each image lies in it and which class it is of; that is remembered until the
file changes. :mod:`csg.data.reading.shard_files` reads the images from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from csg.data.reading.cache import write_cached
from csg.data.reading.listing import get_suffix, is_of_system, list_image_suffixes
from csg.data.reading.loading import map_in_order
from csg.data.reading.spelling import compose_letters
from csg.messages.errors import BadDataError
from csg.messages.text import get_first_line
from csg.messages.waiting import Waiting

SUFFIX: Final = ".tar"
NAMES: Final = "classes.txt"
"""File beside the shards with a class's name a line: the numbers in ``.cls`` count its lines from 0."""
MANY: Final = 8
"""Shards that are worth processes of their own to be read through."""
VERSION: Final = 2
"""Raise it whenever the same shard would be listed otherwise."""
LONGEST: Final = 255
"""Characters of a label."""
FIELDS: Final = ("label", "class", "cls")
"""Names under which a ``.json`` may hold the label."""


@dataclass(frozen=True)
class Sample:
    """An image in a shard."""

    name: str
    """Of the member."""
    offset: int
    """Bytes of the shard before the image's own."""
    size: int
    label: str | None
    """The class's name, or its number; None where nothing beside the image says it."""


def find_shards(folder: Path | str) -> list[str]:
    """Return the names of the shards in a folder, sorted; none where it has sub-folders, which hold images then."""
    with os.scandir(folder) as inside:
        entries = [entry for entry in inside if not is_of_system(entry.name)]
    if any(entry.is_dir() for entry in entries):
        return []
    return sorted(entry.name for entry in entries if entry.name.endswith(SUFFIX))


@dataclass(frozen=True)
class ShardListing:
    """What the shards of a folder hold."""

    folder: Path
    shards: tuple[str, ...]
    samples: tuple[tuple[Sample, ...], ...]
    """Of each shard."""

    @property
    def names(self) -> list[str]:
        """The names of the classes, sorted; none where no image has a label."""
        return sorted({each.label for shard in self.samples for each in shard if each.label is not None})


def list_shards(folder: Path, *, cache: Path | None) -> ShardListing:
    """List the images of all shards in a folder, several shards at a time.

    Args:
        folder: of the shards.
        cache: folder that remembers what a shard holds; None remembers nothing.

    Raises:
        BadDataError: a shard is cut short or is none, a label cannot be read, or only some images have one.
        UserError: ``cache`` cannot be written to.
    """
    shards = tuple(find_shards(folder))
    names = _read_names(folder / NAMES)

    def list_one(number: int) -> tuple[Sample, ...]:
        return tuple(_remember(folder / shards[number], cache))

    workers = len(os.sched_getaffinity(0)) if len(shards) >= MANY else 0
    found = []
    with Waiting("listing shards", f"listed {{}} shards in {folder}", len(shards)) as waiting:
        for samples_of_one in map_in_order(list_one, range(len(shards)), workers=workers):
            found.append(samples_of_one)
            waiting.add(1)
    samples = tuple(tuple(_name_label(each, names, folder) for each in shard) for shard in found)
    lacking = next((each for shard in samples for each in shard if each.label is None), None)
    labelled = next((each for shard in samples for each in shard if each.label is not None), None)
    if lacking is not None and labelled is not None:
        raise BadDataError(
            f"{folder}: expected a label (.cls or .json) beside every image of its shards or beside none, found one "
            f"for {labelled.name} and none for {lacking.name}"
        )
    return ShardListing(folder, shards, samples)


def _read_names(path: Path) -> list[str]:
    """Return the names of the classes in their order; none where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise BadDataError(f"{path}: expected a class's name a line as UTF-8, found other bytes; save it so") from None
    return [compose_letters(line.strip()) for line in lines if line.strip()]


def _name_label(sample: Sample, names: Sequence[str], folder: Path) -> Sample:
    """Give a sample the name of its class in place of a number."""
    if not names or sample.label is None or not sample.label.isdecimal():
        return sample
    if int(sample.label) >= len(names):
        raise BadDataError(
            f"{folder / NAMES}: expected a line for every class, found {len(names)} and the class {sample.label} of "
            f"{sample.name}"
        )
    return Sample(sample.name, sample.offset, sample.size, names[int(sample.label)])


def _remember(path: Path, cache: Path | None) -> list[Sample]:
    """Return what a shard holds: as it is remembered, or read and remembered."""
    if cache is None:
        return list(_list_members(path))
    stamp = path.stat()
    what = f"{VERSION} {os.path.realpath(path)} {stamp.st_size} {stamp.st_mtime_ns} {stamp.st_ctime_ns} {stamp.st_ino}"
    kept = cache / f"shard-{hashlib.sha256(os.fsencode(what)).hexdigest()[:16]}.json"
    try:
        check_sum, _, body = kept.read_bytes().partition(b"\n")
    except OSError:
        check_sum = body = b""
    if check_sum == _sum_up(what, body):
        return [Sample(*each) for each in json.loads(body)]
    samples = list(_list_members(path))
    body = json.dumps([[each.name, each.offset, each.size, each.label] for each in samples]).encode()
    with write_cached(kept) as file:
        file.write(_sum_up(what, body) + b"\n" + body)
    return samples


def _sum_up(what: str, body: bytes) -> bytes:
    return hashlib.sha256(os.fsencode(what) + body).hexdigest().encode()


def _list_members(path: Path) -> Iterator[Sample]:
    """Yield the images of a shard.

    Raises:
        BadDataError: it is cut short, is no such file or holds no image, a member is there twice, a key has two images
            or two labels, or a label cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadDataError(f"{path}: expected a .tar file, found what is not a regular file; move it away")
    images: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, str] = {}
    seen: set[str] = set()
    suffixes = list_image_suffixes()
    try:
        with path.open("rb") as raw:
            for member in _list_to_the_end(raw):
                key, kind = _split_key(member.name)
                if not member.isreg() or is_of_system(Path(member.name).name):
                    continue
                if kind in ("cls", "json"):
                    raw.seek(member.offset_data)
                    _add_label(labels, key, _read_label(raw.read(member.size), kind))
                if member.name in seen:
                    raise ValueError(f"expected every file once, found {member.name} twice; write the shard anew")
                seen.add(member.name)
                if get_suffix(member.name) in suffixes:
                    _add_image(images, key, (member.name, member.offset_data, member.size))
    except (tarfile.TarError, EOFError, OverflowError) as error:
        raise BadDataError(
            f"{path}: expected a whole .tar file, as WebDataset writes it, {_describe(error)}; copy it again"
        ) from None
    except ValueError as error:
        raise BadDataError(f"{path}: {error}") from None
    if not images:
        raise BadDataError(f"{path}: expected images in every shard, found none; move it away, or write it anew")
    for key, (name, offset, size) in images.items():
        yield Sample(name, offset, size, labels.get(key))


def _list_to_the_end(raw: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a shard, or of several one behind the other in one file.

    Where they end, a block of zeros is demanded, which every writer puts there: ``tarfile`` by itself takes a header
    that is cut or damaged for the end.

    Raises:
        TarError: the shard is cut short or damaged.
    """
    more = True
    while more:
        with tarfile.open(fileobj=raw, mode="r:", errors="surrogateescape") as shard:
            for member in shard:
                if member.size < 0:
                    raise tarfile.ReadError(f"a member of {member.size} bytes")
                yield member
        raw.seek(shard.offset)
        block = raw.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("unexpected end of data")
        if any(block):
            raise tarfile.ReadError(f"a damaged header at byte {shard.offset}")
        while block and not any(block):
            block = raw.read(tarfile.BLOCKSIZE)
        raw.seek(-len(block), os.SEEK_CUR)
        more = bool(block)


def _add_image(images: dict[str, tuple[str, int, int]], key: str, image: tuple[str, int, int]) -> None:
    if key in images:
        raise ValueError(
            f"expected one image a key (which ends at the first dot), found {images[key][0]} and {image[0]}; leave one "
            "of them out"
        )
    images[key] = image


def _add_label(labels: dict[str, str], key: str, label: str | None) -> None:
    """Add a key's label. Where one is a number and the other a name, they may mean the same: the later one counts."""
    if label is None:
        return
    other = labels.get(key, label)
    if other != label and other.isdecimal() == label.isdecimal():
        raise ValueError(f"expected one label for {key.removeprefix('/')}, found {other!r} and {label!r}")
    labels[key] = label


def _describe(error: Exception) -> str:
    said = get_first_line(str(error)) or type(error).__name__
    return f"found one that is cut short ({said})" if "end of data" in said else f"found something else ({said})"


def _split_key(name: str) -> tuple[str, str]:
    """Return a member's key, which ends at the first dot of its last part, and what follows the dot, in lower case."""
    folder, _, last = name.rpartition("/")
    stem, _, kind = last.partition(".")
    return f"{folder}/{stem}", kind.lower()


def _read_label(content: bytes, kind: str) -> str | None:
    """Return the label that a ``.cls`` or a ``.json`` holds; None where a ``.json`` has none.

    Raises:
        ValueError: it cannot be read.
    """
    label = content.decode("utf-8").strip() if kind == "cls" else _find_label(content)
    if label is None:
        return None
    if not label or "\n" in label:
        raise ValueError(f"expected a number or a name in every .{kind}, found {label[:40]!r}")
    if len(label) > LONGEST:
        raise ValueError(
            f"expected a number or a name of at most {LONGEST} characters in every .{kind}, found {len(label):,}: "
            f"{label[:40]!r} and more"
        )
    return compose_letters(label)


def _find_label(content: bytes) -> str | None:
    try:
        found: Any = json.loads(content)
    except RecursionError:
        raise ValueError("expected JSON in every .json, found lists or objects nested too deep to read") from None
    except ValueError as error:
        raise ValueError(f"expected JSON in every .json, found something else ({get_first_line(str(error))})") from None
    label = next((found[name] for name in FIELDS if name in found), None) if isinstance(found, dict) else None
    if label is not None and not isinstance(label, (int, str)):
        said = repr(label)[:40]
        raise ValueError(f"expected a number or a name as {' or '.join(FIELDS)} in every .json, found {said}")
    return None if label is None else str(label)
