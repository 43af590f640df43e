"""Look at every image and label map of a pair on disk once, and remember what was seen.

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

import PIL

from csg.config import DataConfig
from csg.data import load_domains, load_pair
from csg.data.description import Looks, describe_domain, describe_stream
from csg.data.domain import Domain, Look
from csg.data.fault import IMPASSABLE, UNREADABLE, Fault, name_faults
from csg.data.maps.domain import MapDomain
from csg.data.maps.judgement import judge_streams
from csg.data.reading.cache import get_cache_folder, write_cached
from csg.data.reading.listing import EXPECTED, PassedOver
from csg.data.reading.loading import map_in_order
from csg.messages.errors import BadDataError
from csg.messages.text import encode_text
from csg.messages.wording import pluralize

VERSION: Final = 5
"""Raise it whenever the same files would be judged otherwise, or the report's form changes."""
CHUNK: Final = 64
"""Images that a process looks at before it reports."""
FEW: Final = 1000
"""Files that are read to learn whether there is a report on them; where more are not known, they are looked at."""

OnImages = Callable[[int, int], None]
"""Called with the images looked at and the images in all."""


@dataclass(frozen=True)
class Report:
    """A check's result."""

    pair: str
    domains: dict[str, dict[str, Any]]
    """By side, or part of one: folder, images, those of them that can be read, bytes, images per class and without a
    label, width and height in pixels, hashes of names and of contents; how many images hold further frames or pages,
    and what is passed over for its name (:class:`PassedOver`). Where labels are maps, images per class are those that
    show it, and the pixels of each class are counted too, as is the share of the pixels that have a class, and the maps
    without such a pixel are named."""
    streams: dict[str, dict[str, Any]]
    """By stream, as the settings of the check split the images: images, images per class and without a label,
    fingerprint. None where a side is at fault."""
    faults: tuple[Fault, ...]
    on_bad_image: Literal["error", "skip"]
    """``data.on_bad_image`` of the check's settings."""
    path: Path
    """Where it is kept."""

    @property
    def passed_over(self) -> dict[str, tuple[PassedOver, ...]]:
        """By side, or part of one: what is not used because of its name."""
        return {side: tuple(PassedOver(**kind) for kind in domain["not_used"]) for side, domain in self.domains.items()}

    @property
    def not_used(self) -> tuple[PassedOver, ...]:
        """What is passed over on either side and may have been meant to be used."""
        return tuple(kind for kinds in self.passed_over.values() for kind in kinds if kind.reason not in EXPECTED)

    @property
    def usable(self) -> bool:
        """Whether a training under the check's settings would start on these data."""
        return self.explain_refusal(self.on_bad_image) is None

    def explain_refusal(self, on_bad_image: Literal["error", "skip"]) -> str | None:
        """Say why a training under that setting would not start on these data; None where it would."""
        impassable = [fault for fault in self.faults if fault.kind in IMPASSABLE]
        if impassable:
            return name_faults(impassable, "the data cannot be used:")
        bad = [fault for fault in self.faults if fault.kind in UNREADABLE]
        if bad and on_bad_image == "error":
            images = sum(domain["images"] for domain in self.domains.values())
            what = (
                f"{len(bad):,} of {pluralize(images, 'image')} cannot be used; "
                f"repair them, or leave them out with --data.on-bad-image skip (report: {self.path}):"
            )
            return name_faults(bad, what)
        for side, domain in self.domains.items():
            if not domain["readable_images"]:
                return f"expected {side} images, found none that can be read in {domain['folder']}"
        return None


def check(config: DataConfig, on_images: OnImages | None = None) -> Report:
    """Look at everything anew, and keep the report in ``data.cache``.

    Uses ``data.workers`` processes, or as many as there are CPUs.

    Raises:
        UserError: there are no data where the settings say, they cannot be split into streams, or ``data.cache``
            cannot be written.
    """
    domains = load_domains(config)
    faults = [fault for domain in domains for fault in domain.faults]
    passed_over: dict[str, tuple[PassedOver, ...]] = {}
    for domain in domains:
        more, passed_over[domain.name] = domain.find_unlisted(allow_missing=config.allow_missing_classes)
        faults += more
    # First, because it is quick and refuses data that cannot be split.
    pair = None if any(fault.kind in IMPASSABLE for fault in faults) else load_pair(config)
    total = sum(len(domain.files) for domain in domains)
    done = 0
    seen: dict[str, Looks] = {}
    for domain in domains:
        starts = range(0, len(domain.files), CHUNK)
        workers = (config.workers or len(os.sched_getaffinity(0))) if len(starts) > 1 else 0
        looks: list[Look] = []
        for part in map_in_order(_Look(domain, starts), range(len(starts)), workers=workers):
            looks.extend(part)
            done += len(part)
            if on_images is not None:
                on_images(done, total)
        seen[domain.name] = Looks(looks)
        domain.learn(looks)
        faults += [*seen[domain.name].faults, *domain.judge(looks)]
    described: dict[str, dict[str, Any]] = {
        domain.name: describe_domain(domain, seen[domain.name])
        | {"not_used": [dataclasses.asdict(kind) for kind in passed_over[domain.name]]}
        for domain in domains
    }
    streams = {} if pair is None else {name: describe_stream(pair, name, domains, seen) for name in pair.streams}
    if pair is not None:
        faults += judge_streams(pair, described)
    report = Report(config.name, described, streams, tuple(faults), config.on_bad_image, report_path(config))
    _write(report)
    return report


def verify(config: DataConfig, on_images: OnImages | None = None) -> Report:
    """Return the report on these very files: from an earlier check, or from one that is made now.

    Raises:
        UserError: see :func:`check`.
        BadDataError: no training would start on these data.
    """
    unknown = sum(domain.count_unknown() for domain in load_domains(config))
    report = read_report(report_path(config)) if unknown <= FEW else None
    if report is None:
        report = check(config, on_images)
    elif not any(fault.kind in IMPASSABLE for fault in report.faults if fault.kind != "stream without labels"):
        # The files may have been split otherwise when they were looked at.
        faults = [fault for fault in report.faults if fault.kind != "stream without labels"]
        faults += judge_streams(load_pair(config), report.domains)
        report = dataclasses.replace(report, faults=tuple(faults))
    refusal = report.explain_refusal(config.on_bad_image)
    if refusal is not None:
        raise BadDataError(refusal)
    return report


def report_path(config: DataConfig) -> Path:
    """Return where the report on these very files is kept: names, classes and contents decide.

    So do the settings that decide what is a fault.

    Raises:
        UserError: there are no data where the settings say, or ``data.cache`` cannot be written.
    """
    settings = f"{config.allow_missing_classes} {config.max_megapixels} {config.grey_bits}"
    digest = hashlib.sha256(f"{VERSION} {PIL.__version__} {settings}".encode())
    for domain in load_domains(config):
        digest.update(encode_text(f"{domain.files.folder} {domain.classes} {domain.files.fingerprint}"))
        for fault in domain.faults:
            digest.update(encode_text(str(fault)))
    return get_cache_folder(config) / f"check-{config.name}-{digest.hexdigest()[:16]}.json"


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

    domain: Domain | MapDomain
    starts: range

    def __call__(self, chunk: int) -> list[Look]:
        first = self.starts[chunk]
        return [self.domain.look(index) for index in range(first, min(first + CHUNK, len(self.domain.files)))]


def _write(report: Report) -> None:
    content = {
        "pair": report.pair,
        "usable": report.usable,
        "on_bad_image": report.on_bad_image,
        "domains": report.domains,
        "streams": report.streams,
        "faults": [dataclasses.asdict(fault) for fault in report.faults],
    }
    with write_cached(report.path) as file:
        file.write(json.dumps(content, indent=1).encode())
