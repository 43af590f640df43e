"""Shards: ``.tar`` files as WebDataset writes them, with ``KEY.jpg`` beside ``KEY.cls`` or ``KEY.json``.

A shard is read through once, for where each image lies in it and which class it is of; that is remembered until the
file changes. :mod:`csg.data.reading.shard_files` reads the images from there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
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

SUFFIX: Final = ".tar"
NAMES: Final = "classes.txt"
"""File beside the shards with a class's name a line: the numbers in ``.cls`` count its lines from 0."""
MANY: Final = 8
"""Shards that are worth processes of their own to be read through."""
VERSION: Final = 2
"""Raise it whenever the same shard would be listed otherwise."""
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
    found = tuple(map_in_order(list_one, range(len(shards)), workers=workers))
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
        return [Sample(*each) for each in json.loads(kept.read_text())]
    except (OSError, ValueError, TypeError):
        pass
    samples = list(_list_members(path))
    with write_cached(kept) as file:
        file.write(json.dumps([[each.name, each.offset, each.size, each.label] for each in samples]).encode())
    return samples


def _list_members(path: Path) -> Iterator[Sample]:
    """Yield the images of a shard.

    Raises:
        BadDataError: it is cut short or is no such file, or a label cannot be read.
    """
    images: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, str] = {}
    suffixes = list_image_suffixes()
    try:
        with path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:", errors="surrogateescape") as shard:
            for member in _list_to_the_end(shard, raw):
                key, kind = _split_key(member.name)
                if not member.isreg() or is_of_system(Path(member.name).name):
                    continue
                if get_suffix(member.name) in suffixes:
                    images.setdefault(key, (member.name, member.offset_data, member.size))
                elif kind in ("cls", "json"):
                    content = shard.extractfile(member)
                    assert content is not None
                    label = _read_label(content, kind)
                    if label is not None:
                        labels[key] = label
    except (tarfile.TarError, EOFError, OverflowError) as error:
        raise BadDataError(
            f"{path}: expected a whole .tar file, as WebDataset writes it, {_describe(error)}; copy it again"
        ) from None
    except ValueError as error:
        raise BadDataError(f"{path}: {error}") from None
    for key, (name, offset, size) in images.items():
        yield Sample(name, offset, size, labels.get(key))


def _list_to_the_end(shard: tarfile.TarFile, raw: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a shard; where they end, demand the block of zeros that every writer puts there.

    ``tarfile`` by itself takes a header that is cut or damaged for the end.

    Raises:
        TarError: the shard is cut short or damaged.
    """
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


def _describe(error: Exception) -> str:
    said = get_first_line(str(error)) or type(error).__name__
    return f"found one that is cut short ({said})" if "end of data" in said else f"found something else ({said})"


def _split_key(name: str) -> tuple[str, str]:
    """Return a member's key, which ends at the first dot of its last part, and what follows the dot, in lower case."""
    folder, _, last = name.rpartition("/")
    stem, _, kind = last.partition(".")
    return f"{folder}/{stem}", kind.lower()


def _read_label(file: IO[bytes], kind: str) -> str | None:
    """Return the label that a ``.cls`` or a ``.json`` holds; None where a ``.json`` has none.

    Raises:
        ValueError: it cannot be read.
    """
    text = io.TextIOWrapper(file, encoding="utf-8").read().strip()
    if kind == "cls":
        if not text or "\n" in text:
            raise ValueError(f"expected a number or a name in every .cls, found {text[:40]!r}")
        return compose_letters(text)
    content: Any = json.loads(text)
    label = next((content[name] for name in FIELDS if name in content), None) if isinstance(content, dict) else None
    if label is not None and not isinstance(label, (int, str)):
        raise ValueError(f"expected a number or a name as {' or '.join(FIELDS)} in every .json, found {label!r}")
    return None if label is None else compose_letters(str(label))
