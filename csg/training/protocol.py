"""Whether a pair has the images that a training and its selection protocol look at."""

from __future__ import annotations

from typing import Final

from csg.config import Config
from csg.data.held_out import HELD_OUT, list_removable_sources
from csg.data.pair import TARGET_VAL, Pair
from csg.messages.errors import UserError
from csg.training.selection import ASKS

REMEDY: Final = "or select without real images, by selection.protocol=source or shifted"


def check_protocol(config: Config, pair: Pair) -> None:
    """Refuse a selection protocol that would look at sources, images or labels that the pair does not have.

    Raises:
        UserError: it would.
    """
    protocol = config.selection.protocol
    if protocol == "held_out_source" and HELD_OUT not in pair.streams and not list_removable_sources(pair):
        raise UserError(
            f"selection.protocol: {protocol!r} leaves out one source at a time, so it expects several, found one that "
            "is trained on; give more (data.source A B), or select by source or shifted"
        )
    if ASKS[protocol] == "nothing":
        return
    real = pair.streams.get(TARGET_VAL)
    if real is None:
        raise UserError(
            f"selection.protocol: {protocol!r} looks at real images, and data.name={config.data.name} was given none; "
            f"give them with data.target, {REMEDY}"
        )
    if ASKS[protocol] == "labels" and not real.has_labels:
        raise UserError(
            f"selection.protocol: {protocol!r} looks at the labels of real images, found {len(real):,} photographs "
            f"without labels; give labelled ones (data.target with one sub-folder a class), {REMEDY}"
        )


def check_streams(pair: Pair) -> None:
    """Refuse a pair with a stream that has no image, which would end the first measurement of a run.

    Raises:
        UserError: it has one. Missing classes were allowed, and no class has two images to be parted.
    """
    empty = [name for name, stream in pair.streams.items() if not len(stream)]
    if empty:
        raise UserError(
            f"data.allow_missing_classes: expected a class with two images or more, one for each part that data.name="
            f"{pair.name} is split into, found none, which leaves {', '.join(empty)} empty; give more images"
        )
