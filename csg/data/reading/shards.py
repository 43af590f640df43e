"""Shards: ``.tar`` files as WebDataset writes them, with ``KEY.jpg`` beside ``KEY.cls`` or ``KEY.json``.

A shard is read through once, for where each image lies in it; that is remembered until the file changes. Then images
are read from their places in any order, so that training on shards is what training on the same files would be.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csg.data.fault import BadImageError
from csg.data.reading.cache import write_cached
from csg.data.reading.contents import Contents, read_stamps
from csg.data.reading.decoding import USUAL_LIMIT, PixelLimit
from csg.data.reading.image_files import ImageFiles
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
VERSION: Final = 1
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


@dataclass(frozen=True)
class ShardFiles(ImageFiles):
    """Images in shards, each with a class, in the order of the shards and within them."""

    offsets: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(N,) bytes of its shard before each image's own."""
    shards: tuple[str, ...] = ()
    """Names of the shards below the folder."""
    owners: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(N,) which shard each image is in."""

    def read(self, index: int) -> bytes:
        """See :class:`~csg.data.reading.image_files.ImageFiles`."""
        path = Path(self.folder, self.shards[self.owners[index]])
        content = read_range(path, int(self.offsets[index]), int(self.sizes[index]))
        if len(content) < self.sizes[index]:
            raise BadImageError(self.path(index), "found a shard that is shorter than when it was listed")
        if not content:
            raise BadImageError(self.path(index), "found an empty file")
        return content

    def subset(self, indices: Tensor) -> ShardFiles:
        """Return some of the images."""
        plain, kept = super().subset(indices), indices.numpy()
        return ShardFiles(
            **{name: getattr(plain, name) for name in ImageFiles.__dataclass_fields__},
            offsets=self.offsets[kept],
            shards=self.shards,
            owners=self.owners[kept],
        )


class ShardContents(Contents):
    """What the images of shards hold, read when it is first asked for."""

    def __init__(
        self,
        folder: str,
        names: npt.NDArray[np.uint8],
        ends: npt.NDArray[np.int64],
        stamps: npt.NDArray[np.int64],
        cache: Path | None,
        *,
        paths: Sequence[Path],
        offsets: npt.NDArray[np.int64],
    ) -> None:
        """Take the shard and the offset of each image; for the others see :class:`Contents`."""
        super().__init__(folder, names, ends, stamps, cache)
        self._paths, self._offsets, self._sizes = paths, offsets, stamps[:, 0]

    def _read(self, places: npt.NDArray[np.int64]) -> bytes:
        ranges = ((self._paths[each], int(self._offsets[each]), int(self._sizes[each])) for each in places.tolist())
        return b"".join(hashlib.sha256(read_range(*each)).digest() for each in ranges)


def read_range(path: Path, offset: int, size: int) -> bytes:
    """Return so many bytes of a file from an offset on, or as many as there are."""
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), size, offset)


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

    def make_files(
        self, labels: Mapping[str | None, int], *, cache: Path | None, limit: PixelLimit = USUAL_LIMIT
    ) -> ShardFiles:
        """Look up the shards' times, and give every image the number of its class.

        Args:
            labels: the number by the class's name in the shards, or None; images of other classes are left out.
            cache: folder that remembers what images hold; None remembers nothing.
            limit: how many pixels each may have.
        """
        every = [
            (owner, each) for owner, samples in enumerate(self.samples) for each in samples if each.label in labels
        ]
        owners = np.array([owner for owner, _ in every], dtype=np.int64)
        encoded = [os.fsencode(f"{self.shards[owner]}/{each.name}") for owner, each in every]
        names = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        stamps = read_stamps(str(self.folder), [os.fsencode(shard) for shard in self.shards])[owners]
        stamps[:, 0] = [each.size for _, each in every]
        offsets = np.array([each.offset for _, each in every], dtype=np.int64)
        paths = [self.folder / shard for shard in self.shards]
        contents = ShardContents(
            *(str(self.folder), names, ends, stamps, cache),
            paths=[paths[owner] for owner in owners.tolist()],
            offsets=offsets,
        )
        return ShardFiles(
            folder=str(self.folder),
            names=names,
            ends=ends,
            labels=torch.tensor([labels[each.label] for _, each in every], dtype=torch.int64),
            stamps=stamps,
            contents=contents,
            places=np.arange(len(every)),
            limit=limit,
            offsets=offsets,
            shards=self.shards,
            owners=owners,
        )


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
            for member in shard:
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
    except (tarfile.TarError, EOFError) as error:
        raise BadDataError(
            f"{path}: expected a whole .tar file, as WebDataset writes it, {_describe(error)}; copy it again"
        ) from None
    except ValueError as error:
        raise BadDataError(f"{path}: {error}") from None
    for key, (name, offset, size) in images.items():
        yield Sample(name, offset, size, labels.get(key))


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
