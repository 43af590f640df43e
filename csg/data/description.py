"""What a check reports of the images that it has looked at: counts, sizes and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from csg.data.domain import Domain, Look
from csg.data.fault import Fault
from csg.data.maps.domain import MapDomain
from csg.data.maps.files import FileMapStream
from csg.data.maps.judgement import describe_labels, list_map_parts
from csg.data.pair import SOURCE_SHIFTED, SOURCE_VAL, LabelledImages, Pair, count_labels

NOTHING: Final[dict[str, Any]] = {"images_per_class": {}, "pixels_per_class": {}}
"""Counts of a stream without labels."""


@dataclass(frozen=True)
class Looks:
    """What some files of a domain showed."""

    looks: list[Look]
    """One for each, in the order of the files."""

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height in pixels of what can be used."""
        return [look.size for look in self.looks if look.size is not None]

    @property
    def faults(self) -> list[Fault]:
        """What is wrong with the others."""
        return [fault for look in self.looks for fault in look.faults]

    @property
    def pixels(self) -> npt.NDArray[np.int64] | None:
        """(N, classes) pixels of each class, where labels are maps."""
        counts = [look.pixels for look in self.looks if look.pixels is not None]
        return np.stack(counts) if counts else None


def describe_domain(domain: Domain | MapDomain, seen: Looks) -> dict[str, Any]:
    """Return what a check reports of a side, or of a part of one; see :class:`csg.data.check.Report`."""
    pixels = np.array(seen.sizes, dtype=np.int64).reshape(-1, 2)
    return {
        "folder": domain.files.folder,
        "images": len(domain.files),
        "readable_images": len(pixels),
        "bytes": int(domain.files.sizes.clip(min=0).sum()),
        **(
            _count_per_class(domain.classes, labels=domain.files.labels)
            if isinstance(domain, Domain)
            else _count_per_class(domain.classes, pixels=seen.pixels)
        ),
        **(describe_labels(domain.files, seen.looks) if isinstance(domain, MapDomain) else {}),
        "pixels": {
            name: {"smallest": int(side.min()), "median": int(np.median(side)), "largest": int(side.max())}
            for name, side in zip(("width", "height"), pixels.T, strict=True)
            if len(side)
        },
        "several_frames": sum(look.several_frames for look in seen.looks),
        "fingerprint": domain.files.fingerprint,
        "contents_sha256": hashlib.sha256(
            b"".join(content for look in seen.looks for content in look.contents)
        ).hexdigest(),
    }


def describe_stream(
    pair: Pair, name: str, domains: Sequence[Domain | MapDomain], seen: Mapping[str, Looks]
) -> dict[str, Any]:
    """Return what a check reports of a stream; see :class:`csg.data.check.Report`."""
    stream = pair.streams[name]
    # The distorted images are those of source/val.
    plain = pair.streams[SOURCE_VAL] if name == SOURCE_SHIFTED else stream
    if isinstance(stream, LabelledImages):
        per_class = _count_per_class(pair.classes, labels=stream.labels)
    else:
        parts = list_map_parts(plain)
        per_class = _count_per_class(pair.classes, pixels=_count_pixels(parts, domains, seen)) if parts else NOTHING
        without = len(plain) - sum(map(len, parts))
        per_class |= {"without_label": without} if without else {}
    return {"images": len(stream), **per_class, "fingerprint": stream.fingerprint}


def _count_pixels(
    parts: Sequence[FileMapStream], domains: Sequence[Domain | MapDomain], seen: Mapping[str, Looks]
) -> npt.NDArray[np.int64] | None:
    """Return (N, classes) pixels of each class of the parts' label maps."""
    names = {domain.files.folder: domain.name for domain in domains}
    counts = [(seen[names[part.files.folder]].pixels, part.places.numpy()) for part in parts]
    known = [of_all[places] for of_all, places in counts if of_all is not None]
    return np.concatenate(known) if known else None


def _count_per_class(
    classes: Sequence[str], *, labels: Tensor | None = None, pixels: npt.NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Count images per class, and without a label; of maps the images that show it, and its pixels."""
    if labels is not None:
        counts = count_labels(labels, len(classes))
        without = len(labels) - sum(counts)
        known = {} if 0 < without == len(labels) else dict(zip(classes, counts, strict=True))
        return {"images_per_class": known, **({"without_label": without} if without else {})}
    table = np.zeros((0, len(classes)), dtype=np.int64) if pixels is None else pixels
    return {
        "images_per_class": dict(zip(classes, (table > 0).sum(axis=0).tolist(), strict=True)),
        "pixels_per_class": dict(zip(classes, table.sum(axis=0).tolist(), strict=True)),
    }
