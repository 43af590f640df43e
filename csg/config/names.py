"""Names from users, made safe for MLflow and for file systems. Different names stay different."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from csg.messages.errors import UserError
from csg.messages.text import encode_text, is_utf8

EVALUATED: Final = "evaluated"
"""Begins the names of metrics on another labelled set: evaluated/NAME/accuracy, for example."""
DIGITS: Final = 10
LONGEST_METRIC: Final = 250
"""Characters that MLflow accepts."""
LONGEST_FOLDER: Final = 100
"""Characters. File systems accept 255 bytes, and the files below have names too."""


def make_metric_name(name: str) -> str:
    """Return a name for a metric that MLflow accepts. No other name has the same result.

    A name that MLflow accepts stays. In others an underscore replaces each forbidden character, and a digest of the
    name follows.
    """
    return _make_distinct(name, re.sub(r"[^\w\-. /:]", "_", name), mark=":", longest=LONGEST_METRIC)


def make_set_prefix(name: str, remedy: str = "") -> str:
    """Return what the names of metrics on another labelled set begin with.

    Raises:
        UserError: the name of the set cannot be a part of theirs; ``remedy`` says what else to do.
    """
    if not re.fullmatch(r"[\w\-.]+", name, re.ASCII):
        raise UserError(
            "--name: expected English letters, digits, hyphens, underscores and dots in the name of a set, found "
            f"{name!r}{remedy}"
        )
    return f"{EVALUATED}/{name}"


def check_experiment(name: str) -> None:
    """Refuse a name of an experiment that a store cannot hold.

    Raises:
        UserError: the name is not UTF-8.
    """
    if not is_utf8(name):
        raise UserError(f"--experiment: expected a name in UTF-8, found {name!r}; choose another name")


def make_folder_name(name: str) -> str:
    """Return a name for a folder. No other name has the same result, even where file systems ignore case.

    A name of lower-case letters, digits, ``_``, ``-`` and dots between them stays. Other names end in a digest.
    """
    return _make_distinct(name, re.sub(r"^[.-]|[^a-z0-9_.-]|\.\Z", "_", name.lower()), mark="~", longest=LONGEST_FOLDER)


def _make_distinct(name: str, safe: str, *, mark: str, longest: int) -> str:
    """Return ``name`` if it is ``safe``, else its safe form with a digest.

    A name that seems to end in a digest gets one too. Otherwise it could equal the result for another name.
    """
    has_digest = re.search(rf"{mark}[0-9a-f]{{{DIGITS}}}\Z", name)
    if name and name == safe and len(name) <= longest and not has_digest:
        return name
    digest = hashlib.sha256(encode_text(name)).hexdigest()[:DIGITS]
    return f"{safe[: longest - len(mark) - DIGITS]}{mark}{digest}"
