"""The place that a path or an address names, and what lies where below ``train.output``."""

from __future__ import annotations

from typing import Final

from csg.storage.address import check_address, is_address
from csg.storage.bucket import BucketPlace
from csg.storage.disk import DiskPlace
from csg.storage.paths import resolve_user_path
from csg.storage.place import Place

TRAINED: Final = "trained"
"""Folder of the runs, one each."""
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


def place_to_read(text: str, setting: str) -> Place:
    """Return the place of a file that is only read; of one in a bucket, see that it can be.

    Raises:
        UserError: see :func:`place_at` and :meth:`~csg.storage.place.Place.reach`.
    """
    place = place_at(text, setting)
    place.reach(setting, writing=False)
    return place
