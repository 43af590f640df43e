"""Paths as users write them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, TypeVar

from csg.settings import ConfigError, flag_name
from csg.text import is_utf8

Options = TypeVar("Options")


def user_path(text: str | Path, setting: str) -> Path:
    """Return the path that ``text`` means: ``~`` and ``~NAME`` at its beginning are home folders, where there are such.

    Raises:
        ConfigError: no path can be written so; the message names ``setting``.
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ConfigError(
            f"{setting}: expected a path, found {str(text)!r}, which cannot be the name of a file"
        ) from None
    if "\0" in str(text):
        raise ConfigError(f"{setting}: expected a path, found {str(text)!r}, which holds a NUL character")
    return Path(os.path.expanduser(text))  # noqa: PTH111 (Path's own raises where there is no such home)


def absolute_path(text: str, setting: str, *, written: bool = False) -> str:
    """Return what :func:`user_path` does, resolved against the working directory, which workers do not share.

    Raises:
        ConfigError: see :func:`user_path`; or bytes that are no UTF-8 in a path that is to be ``written``, since
            neither MLflow nor Ray takes them.
    """
    path = str(user_path(text, setting).absolute())
    if written and not is_utf8(path):
        raise ConfigError(f"{setting}: expected a path in UTF-8, found {path!r}; choose another folder")
    return path


def with_user_paths(options: Options) -> Options:
    """Return a command's own flags with each path as it is meant; see :func:`user_path`.

    Raises:
        ConfigError: no path can be written so; the message names the flag.
    """
    found: dict[str, Path] = {}
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        value: Any = getattr(options, field.name)
        if isinstance(value, Path):
            found[field.name] = user_path(value, flag_name(field.name))
    return dataclasses.replace(options, **found) if found else options  # type: ignore[type-var]
