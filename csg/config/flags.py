"""A command line as values of a dataclass's fields.

Words are read here, so that whatever is refused is a :class:`UserError` with one sentence, like a setting that is
refused elsewhere. tyro prints ``--help`` from the same dataclasses.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar, Union, get_args, get_origin

import tyro
import yaml

from csg.config import yaml_text
from csg.config.settings import DIGITS, flag_name, hints
from csg.messages.errors import UserError
from csg.storage.paths import user_path

OptionsT = TypeVar("OptionsT")
HELP: Final = ("-h", "--help")


@dataclasses.dataclass(frozen=True)
class Field:
    """What can be said on a command line."""

    hint: Any
    """Type of its value."""
    switch: bool = False
    """Whether the flag alone says True."""
    positional: bool = False
    """Whether its value stands alone, without a flag."""
    empty: bool = False
    """Whether an empty text is a value."""
    required: bool = False
    """Whether there is no default."""
    metavar: str = ""
    """What stands for its value in a usage."""

    @property
    def many(self) -> bool:
        """Whether it takes several words."""
        return get_origin(self.hint) in (tuple, list)

    def shown(self, name: str) -> str:
        """Return what a user knows the field of this name by."""
        return self.metavar or name if self.positional else flag_name(name)


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag as it was typed, and the words up to the next one."""

    name: str
    typed: str
    """With its hyphens."""
    value: str | None
    """What stands after ``=``; None without that."""
    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """Flags in their order, and the words ahead of the first."""

    words: tuple[str, ...]
    flags: tuple[Flag, ...]

    @classmethod
    def of(cls, argv: Sequence[str]) -> CommandLine:
        """Split a command line at its flags; hyphens in their names are underscores."""
        starts = [index for index, word in enumerate(argv) if word.startswith("--")]
        flags = []
        for start, end in pairwise([*starts, len(argv)]):
            typed, equals, value = argv[start].partition("=")
            words = tuple(argv[start + 1 : end])
            flags.append(Flag(typed[2:].replace("-", "_"), typed, value if equals else None, words))
        return cls(tuple(argv[: starts[0]] if starts else argv), tuple(flags))

    def text(self, name: str) -> str | None:
        """Return the one word that a flag takes, where it was last given, or None where it was not.

        Raises:
            UserError: it has none, or an empty one.
        """
        given = [flag for flag in self.flags if flag.name == name]
        return _filled(_word(given[-1])[0], given[-1].typed) if given else None

    def values(self, fields: Mapping[str, Field]) -> dict[str, Any]:
        """Return the values that were given, by the names of their fields; of a flag given again, the last.

        Raises:
            UserError: an unknown flag (with the nearest), or a missing, superfluous or unusable value.
        """
        values: dict[str, Any] = {}
        alone = [(word, "") for word in self.words]
        for flag in self.flags:
            field = fields.get(flag.name)
            if field is None or field.positional:
                raise UserError(_unknown(flag, fields))
            if field.switch:
                if flag.value is not None:
                    raise UserError(f"{flag.typed}: expected no value, found {flag.value!r}")
                values[flag.name], left = True, flag.words
            elif field.many:
                values[flag.name], left = _several(flag, field), ()
            else:
                word, left = _word(flag)
                values[flag.name] = _one(word, field, flag.typed)
            alone += [(word, f" after {flag.typed}") for word in left]
        for name, field in fields.items():
            if field.positional and alone:
                values[name] = _one(alone.pop(0)[0], field, field.shown(name))
        if alone:
            word, where = alone[0]
            raise UserError(f"{word}: expected a flag (--name), found this word{where}")
        return values


def _word(flag: Flag) -> tuple[str, tuple[str, ...]]:
    """Return the word that a flag takes, and those that are left."""
    if flag.value is not None:
        return flag.value, flag.words
    if not flag.words:
        raise UserError(f"{flag.typed}: expected a value, found none")
    return flag.words[0], flag.words[1:]


def _unknown(flag: Flag, fields: Mapping[str, Field]) -> str:
    known = [known for known, field in fields.items() if not field.positional]
    near = difflib.get_close_matches(flag.name, known, n=1, cutoff=0.5)
    hint = f"; the nearest is {flag_name(near[0])}" if near else ""
    return f"{flag.typed}: unrecognized flag{hint}; --help lists all"


def _several(flag: Flag, field: Field) -> Any:
    words = flag.words if flag.value is None else (flag.value, *flag.words)
    kind, kinds = get_origin(field.hint), get_args(field.hint)
    if not words:
        raise UserError(f"{flag.typed}: expected at least one value, found none")
    if kind is list or kinds[1:] == (...,):
        kinds = kinds[:1] * len(words)
    if len(kinds) != len(words):
        raise UserError(f"{flag.typed}: expected {len(kinds)} values, found {len(words)}")
    each = zip(words, kinds, strict=True)
    return kind(_one(word, dataclasses.replace(field, hint=hint), flag.typed) for word, hint in each)


def _filled(word: str, what: str) -> str:
    if not word:
        raise UserError(f"{what}: expected a value, found an empty text")
    return word


def _one(word: str, field: Field, what: str) -> Any:
    if not field.empty:
        _filled(word, what)
    try:
        return value_of(word, field.hint)
    except ValueError as error:
        shown = word if len(word) <= 100 else f"{word[:100]}..."
        raise UserError(f"{what}: expected {error}, found {shown!r}") from None


def value_of(word: str, hint: Any) -> Any:
    """Return a word as a value of a type.

    Raises:
        ValueError: it is none; says what was expected.
    """
    kind = get_origin(hint)
    if kind is Annotated:
        return value_of(word, get_args(hint)[0])
    if kind in (Union, types.UnionType):
        return _one_of(word, get_args(hint))
    if kind is Literal:
        return _choice(word, get_args(hint))
    readers: dict[Any, Callable[[str], Any]] = {bool: _truth, int: _whole, float: _number, str: str, Path: Path}
    return readers.get(hint, _as_yaml)(word)


def _choice(word: str, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if word == str(choice):
            return choice
    raise ValueError(f"one of {', '.join(map(str, choices))}")


def _truth(word: str) -> bool:
    if word not in ("True", "False"):
        raise ValueError("True or False")
    return word == "True"


def _whole(word: str) -> int:
    if not re.fullmatch(r"[+-]?\d+(_\d+)*", word):
        raise ValueError("a whole number")
    digits = word.lstrip("+-").replace("_", "").lstrip("0")
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of at most {DIGITS} digits")
    return -int(digits or "0") if word.startswith("-") else int(digits or "0")


def _one_of(word: str, kinds: Sequence[Any]) -> Any:
    if word == "None" and types.NoneType in kinds:
        return None
    expected = []
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return value_of(word, kind)
            except ValueError as error:
                expected.append(str(error))
    raise ValueError(" or ".join([*expected, *(["None"] if types.NoneType in kinds else [])]))


def _number(word: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(word)):
            return number
    raise ValueError("a number")


def _as_yaml(word: str) -> Any:
    """Read what a method of somebody's own declares."""
    try:
        return yaml_text.load(word)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError("a value as in YAML") from None


def fields_of(options: type[Any]) -> dict[str, Field]:
    """Return what a dataclass of flags declares, by name."""
    fields = {}
    plain, full = hints(options), hints(options, extras=True)
    for field in dataclasses.fields(options):
        marks = getattr(full[field.name], "__metadata__", ())
        fields[field.name] = Field(
            plain[field.name],
            switch=plain[field.name] is bool,
            positional=tyro.conf.Positional in marks,
            empty=field.default == "",
            required=field.default is field.default_factory is dataclasses.MISSING,
            metavar=next((mark.metavar for mark in marks if getattr(mark, "metavar", None)), ""),
        )
    return fields


def make_options(options: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
    """Make a dataclass of flags from those that were given.

    Raises:
        UserError: one without a default was not; or see :func:`with_user_paths`.
    """
    for name, field in fields_of(options).items():
        if name not in values and field.required:
            wanted = "a word without a flag" if field.positional else "this flag"
            raise UserError(f"{field.shown(name)}: expected {wanted}, found none; --help says what it is for")
    return with_user_paths(options(**values))


def wants_help(argv: Sequence[str]) -> bool:
    """Whether a command line asks for ``--help``."""
    return any(word in HELP for word in argv)


def show_help(
    options: type[Any], *, prog: str, description: str | None, default: Any = tyro.MISSING_NONPROP
) -> NoReturn:
    """Print what flags there are, with ``default``'s values as defaults, and end the program."""
    tyro.cli(
        options,
        args=HELP[1:],
        prog=prog,
        description=description,
        default=default,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    raise SystemExit(0)


def read_options(options: type[OptionsT], argv: Sequence[str], *, prog: str, description: str | None) -> OptionsT:
    """Read a command line into a dataclass with a field for each flag; ``--help`` ends the program.

    Raises:
        UserError: see :meth:`CommandLine.values`, and :func:`make_options`.
    """
    if wants_help(argv):
        show_help(options, prog=prog, description=description)
    return make_options(options, CommandLine.of(argv).values(fields_of(options)))


def with_user_paths(options: OptionsT) -> OptionsT:
    """Return a command's own flags with each path as it is meant; see :func:`user_path`.

    Raises:
        UserError: no path can be written so; the message names the flag.
    """
    found: dict[str, Path] = {}
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        value: Any = getattr(options, field.name)
        if isinstance(value, Path):
            found[field.name] = user_path(value, flag_name(field.name))
    return dataclasses.replace(options, **found) if found else options  # type: ignore[type-var]
