"""Paths as users write them, and this machine's own folder."""

from __future__ import annotations

import os
from pathlib import Path

from csg.messages.errors import UserError
from csg.messages.text import is_utf8


def get_home() -> Path:
    """Return this machine's folder for what can be made again: below ``$XDG_CACHE_HOME``, or else ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "csg-ablation"


def resolve_user_path(text: str | Path, setting: str) -> Path:
    """Return the path that ``text`` means: ``~`` and ``~NAME`` at its beginning are home folders, where there are such.

    Raises:
        UserError: no path can be written so; the message names ``setting``.
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise UserError(
            f"{setting}: expected a path, found {str(text)!r}, which cannot be the name of a file"
        ) from None
    if "\0" in str(text):
        raise UserError(f"{setting}: expected a path, found {str(text)!r}, which holds a NUL character")
    return Path(os.path.expanduser(text))  # noqa: PTH111 (Path's own raises where there is no such home)


def resolve_path(text: str, setting: str, *, written: bool = False) -> str:
    """Return what :func:`resolve_user_path` does, resolved against the working directory, which workers do not share.

    Raises:
        UserError: see :func:`resolve_user_path`; or bytes that are no UTF-8 in a path that is to be ``written``, since
            neither MLflow nor Ray takes them.
    """
    path = str(resolve_user_path(text, setting).absolute())
    if written and not is_utf8(path):
        raise UserError(f"{setting}: expected a path in UTF-8, found {path!r}; choose another folder")
    return path
