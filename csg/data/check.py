"""Look at every image of a pair on disk once, and remember what was seen.

All of a file's compressed data pass through the decoder; the pixels of a JPEG file come out at an eighth of its size,
which is quicker and fails where the full size would. What a decoder cannot know is not found: a JPEG file carries no
check sum, so that a changed byte within its data may pass; a PNG file's check sums are compared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import PIL
import torch

from csg.config import DataConfig
from csg.data import load_domains, load_pair
from csg.data.decoding import AbsentImageError, BadImageError, image_files, inspect, read_bytes
from csg.data.domain import IMPASSABLE, UNREADABLE, Domain, Fault, Kind, named, single_images
from csg.data.files import ImageFiles
from csg.data.loading import in_order
from csg.data.pair import LabelledImages
from csg.settings import ConfigError
from csg.storage import replacing

VERSION: Final = 2
"""Raise it whenever the same files would be judged otherwise, or the report's form changes."""
CHUNK: Final = 64
"""Images that a process looks at before it reports."""

OnImages = Callable[[int, int], None]
"""Called with the images looked at and the images in all."""


@dataclass(frozen=True)
class Seen:
    """What some files of a domain showed."""

    sizes: list[tuple[int, int]]
    """Width and height in pixels of the good images."""
    contents: list[bytes]
    """SHA-256 of every file's bytes; empty where there are none."""
    bad: list[Fault]


@dataclass(frozen=True)
class Report:
    """A check's result."""

    pair: str
    domains: dict[str, dict[str, Any]]
    """By side: folder, images, those of them that can be read, bytes, images per class, width and height in pixels,
    hashes of names and of contents."""
    streams: dict[str, dict[str, Any]]
    """By stream, as the settings of the check split the images: images, images per class, fingerprint. None where a
    side is at fault."""
    faults: tuple[Fault, ...]
    on_bad_image: Literal["error", "skip"]
    """``data.on_bad_image`` of the check's settings."""
    path: Path
    """Where it is kept."""

    @property
    def usable(self) -> bool:
        """Whether a training under the check's settings would start on these data."""
        return self.refusal(self.on_bad_image) is None

    def refusal(self, on_bad_image: Literal["error", "skip"]) -> str | None:
        """Say why a training under that setting would not start on these data; None where it would."""
        impassable = [fault for fault in self.faults if fault.kind in IMPASSABLE]
        if impassable:
            return named(impassable, "the data cannot be used:")
        bad = [fault for fault in self.faults if fault.kind in UNREADABLE]
        if bad and on_bad_image == "error":
            what = (
                f"{len(bad):,} of {sum(domain['images'] for domain in self.domains.values()):,} images cannot be used; "
                f"repair them, or leave them out with --data.on-bad-image skip (report: {self.path}):"
            )
            return named(bad, what)
        for side, domain in self.domains.items():
            if not domain["readable_images"]:
                return f"expected {side} images, found none that can be read in {domain['folder']}"
        return None


def check(config: DataConfig, on_images: OnImages | None = None) -> Report:
    """Look at everything anew, and keep the report in ``data.cache``.

    Uses ``data.workers`` processes, or as many as there are CPUs.

    Raises:
        ConfigError: there are no data where the settings say, they cannot be split into streams, or ``data.cache``
            cannot be written.
    """
    domains = load_domains(config)
    faults = [fault for domain in domains for fault in (*domain.faults, *_not_listed(domain))]
    if not config.allow_missing_classes:
        faults += [fault for domain in domains for fault in single_images(domain)]
    # First, because it is quick and refuses data that cannot be split.
    streams = {} if any(fault.kind in IMPASSABLE for fault in faults) else _streams(config)
    total = sum(len(domain.files) for domain in domains)
    done = 0
    described: dict[str, dict[str, Any]] = {}
    for domain in domains:
        starts = range(0, len(domain.files), CHUNK)
        workers = (config.workers or len(os.sched_getaffinity(0))) if len(starts) > 1 else 0
        seen = Seen([], [], [])
        for part in in_order(_Look(domain.files, starts), range(len(starts)), workers=workers):
            seen.sizes.extend(part.sizes)
            seen.contents.extend(part.contents)
            seen.bad.extend(part.bad)
            done += len(part.contents)
            if on_images is not None:
                on_images(done, total)
        described[domain.side] = _described(domain, seen)
        faults += seen.bad
    report = Report(config.name, described, streams, tuple(faults), config.on_bad_image, report_path(config))
    _write(report)
    return report


def verified(config: DataConfig, on_images: OnImages | None = None) -> Report:
    """Return the report on these very files: from an earlier check, or from one that is made now.

    Raises:
        ConfigError: see :func:`check`; or no training would start on these data.
    """
    report = read_report(report_path(config)) or check(config, on_images)
    refusal = report.refusal(config.on_bad_image)
    if refusal is not None:
        raise ConfigError(refusal)
    return report


def report_path(config: DataConfig) -> Path:
    """Return where the report on these very files is kept: names, classes, sizes and times of change decide."""
    digest = hashlib.sha256(f"{VERSION} {PIL.__version__}".encode())
    for domain in load_domains(config):
        digest.update(f"{domain.files.folder} {domain.classes} {domain.files.fingerprint}".encode())
        digest.update(domain.files.modified.tobytes())
    return Path(config.cache) / f"check-{config.name}-{digest.hexdigest()[:16]}.json"


def read_report(path: Path) -> Report | None:
    """Read a report, or None where there is none or it is damaged."""
    try:
        kept = json.loads(path.read_text())
        faults = tuple(Fault(**fault) for fault in kept["faults"])
        return Report(kept["pair"], kept["domains"], kept["streams"], faults, kept["on_bad_image"], path)
    except (OSError, ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class _Look:
    """Looks at a chunk of files."""

    files: ImageFiles
    starts: range

    def __call__(self, chunk: int) -> Seen:
        seen = Seen([], [], [])
        for index in range(self.starts[chunk], min(self.starts[chunk] + CHUNK, len(self.files))):
            path = self.files.path(index)
            content = b""
            try:
                content = read_bytes(path)
                seen.sizes.append(inspect(path, content))
            except BadImageError as error:
                kind: Kind = "listed but absent" if isinstance(error, AbsentImageError) else "bad image"
                seen.bad.append(Fault(kind, error.path, f"expected an image, {error.reason}"))
            seen.contents.append(hashlib.sha256(content).digest() if content else b"")
        return seen


def _described(domain: Domain, seen: Seen) -> dict[str, Any]:
    counts = domain.files.counts(len(domain.classes))
    pixels = np.array(seen.sizes, dtype=np.int64).reshape(-1, 2)
    return {
        "folder": domain.files.folder,
        "images": len(domain.files),
        "readable_images": len(seen.sizes),
        "bytes": int(domain.files.sizes.clip(min=0).sum()),
        "images_per_class": dict(zip(domain.classes, counts, strict=True)),
        "pixels": {
            name: {"smallest": int(side.min()), "median": int(np.median(side)), "largest": int(side.max())}
            for name, side in zip(("width", "height"), pixels.T, strict=True)
            if len(side)
        },
        "fingerprint": domain.files.fingerprint,
        "contents_sha256": hashlib.sha256(b"".join(seen.contents)).hexdigest(),
    }


def _streams(config: DataConfig) -> dict[str, dict[str, Any]]:
    pair = load_pair(config)
    described = {}
    for name, stream in pair.streams.items():
        assert isinstance(stream, LabelledImages)
        counts = torch.bincount(stream.labels, minlength=len(pair.classes)).tolist()
        per_class = dict(zip(pair.classes, counts, strict=True))
        described[name] = {"images": len(stream), "images_per_class": per_class, "fingerprint": stream.fingerprint}
    return described


def _not_listed(domain: Domain) -> list[Fault]:
    """Find image files that no line of the list names, be it a faulty one, or that lie in no class folder."""
    files = domain.files
    listed = {files.name(index) for index in range(len(files))} | domain.set_aside
    found = (
        path
        for path in image_files(files.folder)
        if str(path.relative_to(files.folder)) not in listed and os.path.abspath(path) not in listed  # noqa: PTH100
    )
    if domain.listed_in is None:
        return [
            Fault("outside the class folders", str(path), "it belongs to no class, and is not used") for path in found
        ]
    return [
        Fault("present but not listed", str(path), f"no line of {domain.listed_in} names it, so it is not used")
        for path in found
    ]


def _write(report: Report) -> None:
    content = {
        "pair": report.pair,
        "usable": report.usable,
        "on_bad_image": report.on_bad_image,
        "domains": report.domains,
        "streams": report.streams,
        "faults": [dataclasses.asdict(fault) for fault in report.faults],
    }
    try:
        report.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(report.path) as file:
            file.write(json.dumps(content, indent=1).encode())
    except OSError as error:
        raise ConfigError(
            f"data.cache: cannot write {report.path} ({error.strerror}); choose another folder with --data.cache"
        ) from error
