"""Names that come from users, made safe for where they are to stand, and still different from one another."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from csg.messages.errors import UserError
from csg.messages.text import as_bytes, is_utf8

DIGITS: Final = 10
LONGEST_METRIC: Final = 250
"""Characters that MLflow takes."""
LONGEST_FOLDER: Final = 100
"""Characters; file systems take 255 bytes, and what lies below has a name too."""


def metric_name(name: str) -> str:
    """Return a name that MLflow takes, which no other name gets.

    One that MLflow takes as it is stays. In others an underscore stands for each character of a class's name that it
    does not allow, and a digest of the name follows.
    """
    return _distinct(name, re.sub(r"[^\w\-. /:]", "_", name), mark=":", longest=LONGEST_METRIC)


def check_experiment(name: str) -> None:
    """See that a store can hold an experiment's name.

    Raises:
        UserError: it holds bytes that are no text.
    """
    if not is_utf8(name):
        raise UserError(f"--experiment: expected a name in UTF-8, found {name!r}; choose another name")


def folder_name(name: str) -> str:
    """Return the name of one folder, which no other name gets, not even where file systems ignore case.

    Lower-case letters, digits, ``_``, ``-`` and dots between them stay; other names end in a digest.
    """
    return _distinct(name, re.sub(r"^[.-]|[^a-z0-9_.-]|\.\Z", "_", name.lower()), mark="~", longest=LONGEST_FOLDER)


def _distinct(name: str, safe: str, *, mark: str, longest: int) -> str:
    """Return ``name`` where it is ``safe``, else its safe form with a digest.

    What looks as if it had a digest gets one too, so that nobody can take another name's.
    """
    looks_made = re.search(rf"{mark}[0-9a-f]{{{DIGITS}}}\Z", name)
    if name and name == safe and len(name) <= longest and not looks_made:
        return name
    digest = hashlib.sha256(as_bytes(name)).hexdigest()[:DIGITS]
    return f"{safe[: longest - len(mark) - DIGITS]}{mark}{digest}"
