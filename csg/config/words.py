"""A word of a command line as a value of a type.

pydantic would read more than one spelling of a value: ``yes`` and ``1`` as True, ``1.0`` as a whole number.
"""

from __future__ import annotations

import contextlib
import math
import re
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from csg.config import yaml_text
from csg.config.settings import DIGITS


def parse_value(word: str, hint: Any) -> Any:
    """Return a word as a value of a type. A type that no case knows is one of a user's method, and read as YAML.

    Raises:
        ValueError: it is no such value. The message says what was expected.
    """
    kind = get_origin(hint)
    if kind is Annotated:
        return parse_value(word, get_args(hint)[0])
    if kind in (Union, types.UnionType):
        return _parse_union(word, get_args(hint))
    if kind is Literal:
        return _parse_choice(word, get_args(hint))
    readers: dict[Any, Callable[[str], Any]]
    readers = {bool: _parse_bool, int: _parse_int, float: _parse_float, str: str, Path: Path}
    return readers.get(hint, _parse_yaml)(word)


def _parse_choice(word: str, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if word == str(choice):
            return choice
    raise ValueError(f"one of {', '.join(map(str, choices))}")


def _parse_bool(word: str) -> bool:
    if word not in ("True", "False"):
        raise ValueError("True or False")
    return word == "True"


def _parse_int(word: str) -> int:
    if not re.fullmatch(r"[+-]?\d+(_\d+)*", word):
        raise ValueError("a whole number")
    digits = word.lstrip("+-").replace("_", "").lstrip("0")
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of at most {DIGITS} digits")
    return -int(digits or "0") if word.startswith("-") else int(digits or "0")


def _parse_union(word: str, kinds: Sequence[Any]) -> Any:
    if word == "None" and types.NoneType in kinds:
        return None
    expected = []
    for kind in kinds:
        if kind is not types.NoneType and get_origin(kind) is not tuple:
            try:
                return parse_value(word, kind)
            except ValueError as error:
                expected.append(str(error))
    raise ValueError(" or ".join([*expected, *(["None"] if types.NoneType in kinds else [])]))


def _parse_float(word: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(word)):
            return number
    raise ValueError("a number")


def _parse_yaml(word: str) -> Any:
    try:
        return yaml_text.load(word)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError("a value as in YAML") from None
