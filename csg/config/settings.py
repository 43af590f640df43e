"""Groups of settings as dataclasses: their ranges, their dotted names, and what is refused.

Nothing here knows which settings there are; ``csg.config`` and each method's file declare them.
"""

from __future__ import annotations

import dataclasses
import difflib
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, cast, get_type_hints

from pydantic import ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from csg.messages.errors import UserError

Flat = dict[str, Any]
"""A configuration as dotted names: ``{"method.temperature": 0.07, ...}``."""

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
T = TypeVar("T")


class Section:
    """A group of settings under one prefix."""

    def active(self) -> Flat:
        """Return the settings that take part, by their names below the section."""
        return flatten(self)


class NotIdentity:
    """Marks a field that says where or how a run is computed, not what: it is no part of ``config_id``."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Marks a text that names a file or a folder, which is read or written; None names none, nor do ``words``."""

    use: Literal["read", "written"]
    words: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Within:
    """Marks a number that has to lie in a range, which an error names in full; None passes."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __str__(self) -> str:
        words = (("more than", self.gt), ("at least", self.ge), ("less than", self.lt), ("at most", self.le))
        return " and ".join(f"{word} {bound:,}" for word, bound in words if bound is not None)

    def _holds(self, value: float) -> bool:
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: Any) -> Any:
            if value is None or self._holds(value):
                return value
            raise PydanticCustomError("range", "expected {range}", {"range": str(self)})

        return no_info_after_validator_function(check, handler(source))


DIGITS: Final = 18
"""Of the largest whole number, which then has room in 64 bits."""
Count = Annotated[int, Within(ge=1)]
NOT_IDENTITY = NotIdentity()

_RESOLVED: dict[tuple[type[Any], bool], dict[str, Any]] = {}


def hints(cls: type[Any], *, extras: bool = False) -> dict[str, Any]:
    """Resolve a dataclass's annotations; once, since that takes a millisecond."""
    if (cls, extras) not in _RESOLVED:
        _RESOLVED[cls, extras] = get_type_hints(cls, include_extras=extras)
    return _RESOLVED[cls, extras]


def flatten(config: Any, prefix: str = "") -> Flat:
    """Turn a tree of dataclasses into dotted names, in declaration order."""
    flat: Flat = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{field.name}.")
        else:
            flat[f"{prefix}{field.name}"] = value
    return flat


def places(config: Any, use: Literal["read", "written"] | None = None, prefix: str = "") -> dict[str, str]:
    """Return what a tree of dataclasses names as files and folders, by dotted name; only for one ``use``, if given."""
    found: dict[str, str] = {}
    marked = place_names(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= places(value, use, f"{prefix}{field.name}.")
        elif field.name in marked:
            place = marked[field.name]
            if value not in (None, *place.words) and use in (None, place.use):
                found[f"{prefix}{field.name}"] = value
    return found


def place_names(cls: type[Any]) -> dict[str, Place]:
    """Return the fields of a dataclass that name files or folders."""
    marks = {name: getattr(hint, "__metadata__", ()) for name, hint in hints(cls, extras=True).items()}
    return {name: mark for name, found in marks.items() for mark in found if isinstance(mark, Place)}


def field_hints(cls: type[Any], prefix: str = "") -> dict[str, Any]:
    """Return the types of the dotted names that ``cls`` has, without making an instance."""
    found: dict[str, Any] = {}
    for name, hint in hints(cls).items():
        nested = dataclasses.is_dataclass(hint)
        found |= field_hints(cast(type[Any], hint), f"{prefix}{name}.") if nested else {f"{prefix}{name}": hint}
    return found


def field_names(cls: type[Any], prefix: str = "") -> list[str]:
    """List the dotted names that ``cls`` has, without making an instance."""
    return list(field_hints(cls, prefix))


def build(cls: type[T], flat: Mapping[str, Any], prefix: str = "") -> T:
    """Make the dataclass ``cls`` from dotted names; absent names keep their defaults.

    Raises:
        UserError: an unknown name (with the nearest valid one), a wrong type or a value out of range.
    """
    known = field_names(cls)
    for name in flat:
        if name not in known:
            raise UserError(unknown(prefix + name, [prefix + k for k in known]))
    arguments: dict[str, Any] = {}
    for name, hint in hints(cls).items():
        if dataclasses.is_dataclass(hint):
            inner = {key.removeprefix(f"{name}."): value for key, value in flat.items() if key.startswith(f"{name}.")}
            if inner:
                arguments[name] = build(cast(type[Any], hint), inner, f"{prefix}{name}.")
        elif name in flat:
            arguments[name] = flat[name]
    try:
        return cls(**arguments)
    except ValidationError as error:
        raise UserError(explain(error, prefix)) from None


def explain(error: ValidationError, prefix: str = "") -> str:
    """Say in one line what was expected of each setting and what was found."""
    lines = []
    for problem in error.errors(include_url=False):
        name = prefix + ".".join(str(part) for part in problem["loc"][:1])
        reason = problem["msg"].replace("Input should be", "expected").removeprefix("Value error, ")
        reason = " ".join(reason.split())
        lines.append(f"{name}: {reason}, found {reprlib.repr(problem['input'])}" if name != prefix else reason)
    return "; ".join(dict.fromkeys(lines))


def flag_name(name: str) -> str:
    """Return how a field, or a setting by its dotted name, is written on a command line."""
    return f"--{name.replace('_', '-')}"


def unknown(name: str, known: list[str]) -> str:
    """Say that a setting does not exist, and name the nearest that does."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; the nearest valid name is {near[0]}" if near else f"; valid names: {', '.join(known)}"
    return f"{name}: no such setting{hint}"
