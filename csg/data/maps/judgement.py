"""What the label maps of one side show when they are seen together: whose ids they hold, and which classes lack."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from csg.data.domain import Look
from csg.data.fault import Fault
from csg.data.maps.files import FileMapStream, MapFiles
from csg.data.maps.label_maps import CLASSES, DEFINED_IDS, SELDOM_VOID, TRAIN_IDS, VOID, fit_train_ids
from csg.data.pair import Pair, Stream
from csg.data.reading.joined import JoinedStream

Shown = npt.NDArray[np.bool_]

MIXED: Final = 0.05
"""Share of a side's maps above which those that fit another table are no chance."""
NAMED: Final = 3
"""Maps that a fault names."""


def judge_maps(
    side: Literal["source", "target"], classes: Sequence[str], files: MapFiles, looks: Sequence[Look]
) -> list[Fault]:
    """Return what is odd about a side's label maps, all of which were looked at.

    Args:
        side: names the setting that says whose ids they hold.
        classes: of the pair.
        files: images and label maps.
        looks: one for each of them.
    """
    shown = {index: look.ids for index, look in enumerate(looks) if look.ids is not None}
    if not shown:
        return []
    place, flag = _place(files), f"--data.{side}-ids"
    counts = [look.pixels for look in looks if look.size is not None and look.pixels is not None]
    pixels = np.sum(counts, axis=0) if counts else np.zeros(len(classes), dtype=np.int64)
    by_label_ids = [ids for index, ids in shown.items() if files.get_table(index) is not TRAIN_IDS]
    if by_label_ids and files.ids == "by_name":
        together = np.any(by_label_ids, axis=0)
        if fit_train_ids(together) and (pixels.any() or _holds_train_ids(together)):
            reason = (
                f"expected label maps of Cityscapes' labelIds, found ids {format_ranges(together)}, which fit its "
                f"labelTrainIds better; if they are those, set {flag} train_ids; if they are labelIds all the same, "
                f"set {flag} label_ids"
            )
            return [Fault("other table of ids", place, reason)]
    faults = _find_mixed(files, shown, flag)
    if counts and not pixels.any():
        reason = (
            f"expected pixels of some class in the {side}'s {len(counts):,} label maps, found ids "
            f"{format_ranges(np.any(list(shown.values()), axis=0))} only, all of them void; {flag} says whose ids "
            "they are"
        )
        faults.append(Fault("no labelled pixel", place, reason))
    elif counts and not pixels.all():
        lacking = ", ".join(repr(name) for name, count in zip(classes, pixels.tolist(), strict=True) if not count)
        faults.append(Fault("classes without pixels", place, f"no {side} label map has a pixel of {lacking}"))
    return faults


def _find_mixed(files: MapFiles, shown: Mapping[int, Shown], flag: str) -> list[Fault]:
    """Return a fault where maps, and not just a few, fit another table than the one by which they are read."""
    by_table: dict[bool, list[int]] = {True: [], False: []}
    for index in shown:
        by_table[files.get_table(index) is TRAIN_IDS].append(index)
    faults = []
    for by_train_ids, places in by_table.items():
        fits = _holds_label_ids if by_train_ids else _holds_train_ids
        odd = [index for index in places if fits(shown[index])]
        if not odd or (not by_train_ids and (files.ids != "by_name" or len(odd) < MIXED * len(places))):
            continue
        read, better = ("labelTrainIds", "labelIds") if by_train_ids else ("labelIds", "labelTrainIds")
        names = ", ".join(files.maps.name(index) for index in odd[:NAMED]) + (" and more" if len(odd) > NAMED else "")
        reason = (
            f"{len(odd):,} of {len(places):,} label maps that are read by Cityscapes' {read} hold ids that fit its "
            f"{better} better: {names}; save those anew, or say what all of this side hold with {flag} label_ids or "
            f"{flag} train_ids"
        )
        # Files with ids that their table lacks are faults of their own already.
        faults.append(Fault("mixed tables of ids" if by_train_ids else "other table of ids", _place(files), reason))
    return faults


def _holds_train_ids(shown: Shown) -> bool:
    return fit_train_ids(shown) and bool(shown[list(SELDOM_VOID)].any())


def _holds_label_ids(shown: Shown) -> bool:
    known = np.zeros_like(shown)
    known[list(DEFINED_IDS)] = True
    return bool(shown[len(CLASSES) : VOID].any() and known[shown].all())


def describe_labels(files: MapFiles, looks: Sequence[Look]) -> dict[str, Any]:
    """Return the share of the pixels that are of any class, and the names of the readable maps that have none."""
    read = {index: look for index, look in enumerate(looks) if look.size is not None and look.pixels is not None}
    labelled = {index: int(look.pixels.sum()) for index, look in read.items() if look.pixels is not None}
    pixels = sum(look.size[0] * look.size[1] for look in read.values() if look.size is not None)
    return {
        "labelled_share": sum(labelled.values()) / max(pixels, 1),
        "maps_without_labels": [files.maps.name(index) for index, count in labelled.items() if not count],
    }


def judge_streams(pair: Pair, described: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Return a fault for every stream whose label maps all have no pixel of any class, unless its whole side is so.

    Args:
        pair: how the sides are split.
        described: of each side :func:`describe_labels`, its folder and the number of its readable images.
    """
    sides = {side["folder"]: side for side in described.values()}
    faults = []
    for name, stream in pair.streams.items():
        parts = list_map_parts(stream)
        voids = [set(sides[part.files.folder].get("maps_without_labels", ())) for part in parts]
        held = [{part.files.maps.name(place) for place in range(len(part))} for part in parts]
        in_part = any(
            len(void) < sides[part.files.folder]["readable_images"] for void, part in zip(voids, parts, strict=True)
        )
        if in_part and all(names <= void for names, void in zip(held, voids, strict=True)):
            reason = f"expected pixels of some class in its {sum(map(len, held)):,} label maps, found none"
            faults.append(Fault("stream without labels", name, reason))
    return faults


def list_map_parts(stream: Stream) -> list[FileMapStream]:
    """Return the streams of image and label files that a stream is, or is made of."""
    parts = stream.parts if isinstance(stream, JoinedStream) else (stream,)
    return [part for part in parts if isinstance(part, FileMapStream)]


def format_ranges(shown: Shown) -> str:
    """List ids as ranges: ``0 to 18, 255``."""
    ids = np.flatnonzero(shown)
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _place(files: MapFiles) -> str:
    """Return the folder that all label maps lie in."""
    names = (files.maps.name(index) for index in range(len(files)))
    return str(Path(files.folder, os.path.commonpath([str(Path(name).parent) for name in names])))
