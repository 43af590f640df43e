"""Groups of settings as dataclasses: their bounds, their dotted names, and the errors of values that they refuse.

This module knows no setting. ``csg.config.data``, ``csg.config.sections`` and the file of each method declare them.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, cast, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from csg.messages.errors import UserError
from csg.messages.wording import find_nearest

Flat = dict[str, Any]
"""A configuration as dotted names: ``{"method.temperature": 0.07, ...}``."""
Use = Literal["read", "written"]
"""What a run does with a file or a folder."""
T = TypeVar("T")

STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
DIGITS: Final = 18
"""Digits of the largest whole number; it fits into 64 bits."""
BOUNDS: Final = {
    "exclusiveMinimum": "more than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
}
"""Words for the bounds of a number, by their names in a JSON schema."""
_RESOLVED: dict[tuple[type[Any], bool], dict[str, Any]] = {}


class Section:
    """A group of settings under one prefix."""

    def get_active(self) -> Flat:
        """Return the settings that have an effect, by their names below the section."""
        return flatten(self)


class NotIdentity:
    """Marks a setting that says where or how a run is computed, not what: it is no part of an identity."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Marks a setting that names a file or a folder. None and the values in ``words`` name no file."""

    use: Use
    words: tuple[str, ...] = ()
    in_buckets: bool = False
    """Whether it may be an address, such as ``s3://bucket/prefix``."""


Count = Annotated[int, Field(ge=1)]
NOT_IDENTITY: Final = NotIdentity()


def resolve_hints(cls: type[Any], *, extras: bool = False) -> dict[str, Any]:
    """Resolve the annotations of a dataclass. The result is kept, since that takes a millisecond."""
    if (cls, extras) not in _RESOLVED:
        _RESOLVED[cls, extras] = get_type_hints(cls, include_extras=extras)
    return _RESOLVED[cls, extras]


def flatten(config: Any, prefix: str = "") -> Flat:
    """Turn a tree of dataclasses into dotted names, in the order of declaration."""
    flat: Flat = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{field.name}.")
        else:
            flat[f"{prefix}{field.name}"] = value
    return flat


def find_marks(config: Any, kind: type[T], prefix: str = "") -> dict[str, T]:
    """Return the marks of a kind on the fields of a tree of dataclasses, by dotted name."""
    found: dict[str, T] = {}
    for name, hint in resolve_hints(type(config), extras=True).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            found |= find_marks(value, kind, f"{prefix}{name}.")
        found |= {f"{prefix}{name}": mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, kind)}
    return found


def find_places(config: Any, use: Use | None = None, prefix: str = "") -> dict[str, str]:
    """Return the files and folders that a tree of dataclasses names, by dotted name; with ``use``, only those.

    Of a setting that names several, the second and later ones have their number behind the name.
    """
    flat, found = flatten(config, prefix), dict[str, str]()
    for name, place in find_marks(config, Place, prefix).items():
        value = flat[name]
        if value not in (None, *place.words) and use in (None, place.use):
            several = enumerate(value if isinstance(value, tuple) else (value,))
            found |= {number_place(name, number): path for number, path in several}
    return found


def number_place(name: str, place: int) -> str:
    """Return the name of the file or folder at a place among several that a setting names, the first being 0."""
    return f"{name} {place + 1}" if place else name


def collect_hints(cls: type[Any], prefix: str = "", **types: type[Any]) -> dict[str, Any]:
    """Return the type of each dotted name below ``cls``; ``types`` are as in :func:`build`. No instance is made."""
    found: dict[str, Any] = {}
    for name, hint in (resolve_hints(cls) | types).items():
        nested = dataclasses.is_dataclass(hint)
        found |= collect_hints(cast(type[Any], hint), f"{prefix}{name}.") if nested else {f"{prefix}{name}": hint}
    return found


def build(cls: type[T], flat: Mapping[str, Any], prefix: str = "", **types: type[Any]) -> T:
    """Make the dataclass ``cls`` from dotted names, all of which it has. Absent names keep their defaults.

    Args:
        cls: the dataclass to make.
        flat: values by the dotted names below ``cls``.
        prefix: beginning of the names in messages.
        types: types of fields of ``cls`` that differ from the declared ones.

    Raises:
        UserError: a value has the wrong type or is out of bounds.
    """
    arguments: dict[str, Any] = {}
    for name, hint in (resolve_hints(cls) | types).items():
        if dataclasses.is_dataclass(hint):
            inner = {key.removeprefix(f"{name}."): value for key, value in flat.items() if key.startswith(f"{name}.")}
            if inner:
                arguments[name] = build(cast(type[Any], hint), inner, f"{prefix}{name}.")
        elif name in flat:
            arguments[name] = flat[name]
    try:
        return cls(**arguments)
    except ValidationError as error:
        raise UserError(explain(error, cls, write=f"{prefix}{{}}".format)) from None


def explain(error: ValidationError, cls: type[Any], *, write: Callable[[str], str] = str) -> str:
    """Say in one line what each field of ``cls`` expects and what was found. ``write`` spells the field's name."""
    lines = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        reason = problem["msg"].replace("Input should be", "expected").removeprefix("Value error, ")
        if problem["type"].startswith(("greater_than", "less_than")):
            reason = f"expected {_describe_bounds(resolve_hints(cls, extras=True)[name])}"
        reason = " ".join(reason.split())
        lines.append(f"{write(name)}: {reason}, found {reprlib.repr(problem['input'])}" if name else reason)
    return "; ".join(dict.fromkeys(lines))


def _describe_bounds(hint: Any) -> str:
    """Name all bounds of a number. Pydantic's message names only the one that a value violates."""
    schema = TypeAdapter(hint).json_schema()
    bounds = schema.get("anyOf", [schema])[0]
    return " and ".join(f"{words} {bounds[key]:,}" for key, words in BOUNDS.items() if key in bounds)


def format_flag(name: str) -> str:
    """Write the name of a field, or the dotted name of a setting, as on a command line."""
    return f"--{name.replace('_', '-')}"


def describe_unknown(name: str, known: list[str]) -> str:
    """Say that a setting does not exist, and name the nearest one that does."""
    near = find_nearest(name, known)
    hint = f"; the nearest valid name is {near}" if near else f"; valid names: {', '.join(known)}"
    return f"{name}: no such setting{hint}"
