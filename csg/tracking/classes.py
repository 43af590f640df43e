"""The names of the classes of a run as tags, in the order of its outputs. Names of metrics are not reversible."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from csg.tracking.tags import Tag

PIECE: Final = 4000
"""Characters of one tag. MLflow accepts 8,000."""


def make_class_tags(classes: Iterable[str]) -> dict[str, str]:
    """Return one tag with the names, or several numbered ones if they are long."""
    text = json.dumps(list(classes))
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return {f"{Tag.CLASSES}.{number}" if number else Tag.CLASSES: piece for number, piece in enumerate(pieces)}


def read_classes(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names from the tags of :func:`make_class_tags`; none where there are no such tags."""
    pieces = [tags[Tag.CLASSES]] if Tag.CLASSES in tags else []
    while f"{Tag.CLASSES}.{len(pieces)}" in tags:
        pieces.append(tags[f"{Tag.CLASSES}.{len(pieces)}"])
    return tuple(json.loads("".join(pieces))) if pieces else ()
