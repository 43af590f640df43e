"""The names of the classes of a run as tags, in the order of its outputs. Names of metrics are not reversible."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from csg.tracking.tags import Tag, make_long_tag, read_long_tag


def make_class_tags(classes: Iterable[str]) -> dict[str, str]:
    """Return the tags with the names."""
    return make_long_tag(Tag.CLASSES, json.dumps(list(classes)))


def read_classes(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names from the tags of :func:`make_class_tags`; none where there are no such tags."""
    text = read_long_tag(tags, Tag.CLASSES)
    return tuple(json.loads(text)) if text else ()
