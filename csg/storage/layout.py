"""The place that a path or an address names, and what lies where below ``train.output``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from csg.storage.address import check_address, is_address
from csg.storage.bucket import BucketPlace
from csg.storage.disk import DiskPlace
from csg.storage.paths import resolve_user_path
from csg.storage.place import Place

TRAINED: Final = "trained"
"""Folder of the runs, one each."""
RECORD: Final = "record.json"
"""File in a run's folder, as the next four: what the run is, and what it showed so far."""
CHECKPOINT: Final = "checkpoint.pt"
"""The whole state of a run under way."""
SELECTED: Final = "selected.pt"
"""The weights of the selected epoch so far; of a finished run those that target/test was measured on."""
OUTPUTS: Final = "test_outputs.npz"
"""What a finished run answered on target/test, image by image."""
PICTURES: Final = "test_pictures.npz"
"""What a finished run makes of a few images of target/test."""
SEARCHES: Final = "searches"
"""Folder of what searches keep, by experiment and search."""
JOURNAL: Final = "journal.jsonl"
"""File in a search's folder."""
ABLATIONS: Final = "ablations"
"""Folder of what ablations keep, by experiment and ablation."""


def place_at(text: str, setting: str = "train.output") -> Place:
    """Return the place at a path, or at an address such as ``s3://bucket/prefix``; nothing is asked of it yet.

    Raises:
        UserError: no path or address can be written so; the message names ``setting``.
    """
    if is_address(text):
        return BucketPlace(check_address(text, setting))
    return DiskPlace(resolve_user_path(text, setting))


def get_run_folder(output: str, name: str) -> Place:
    """Return the folder of the run whose identity has this name, below ``train.output``."""
    return place_at(output) / TRAINED / name


def place_to_read(text: str, setting: str) -> Place:
    """Return the place of a file that is only read; of one in a bucket, see that it can be.

    Raises:
        UserError: see :func:`place_at` and :meth:`~csg.storage.place.Place.reach`.
    """
    place = place_at(text, setting)
    place.reach(setting, writing=False)
    return place


def reach_addresses(paths: Mapping[str, str]) -> None:
    """See that the buckets can be read from that some of ``paths``, by setting, are addresses of: once, and first.

    Raises:
        UserError: see :func:`place_to_read`.
    """
    for setting, text in paths.items():
        if is_address(text):
            place_to_read(text, setting)
