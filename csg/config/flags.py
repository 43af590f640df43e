"""A command line as values of the fields of a dataclass.

The words are read here and not by tyro, so that every refusal is a :class:`UserError` of one sentence. tyro prints
``--help`` from the same dataclasses.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, Union, get_args, get_origin

import tyro
from pydantic import TypeAdapter, ValidationError

from csg.config.settings import explain, format_flag, resolve_hints
from csg.config.words import parse_value
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.wording import find_nearest
from csg.storage.paths import resolve_user_path

OptionsT = TypeVar("OptionsT")
HELP: Final = ("-h", "--help")


@dataclasses.dataclass(frozen=True)
class Argument:
    """What a command line may set."""

    hint: Any
    """Type of the value."""
    switch: bool = False
    """Whether the flag takes no value and means True."""
    positional: bool = False
    """Whether the value has no flag."""
    empty: bool = False
    """Whether an empty text is a value."""
    required: bool = False
    """Whether there is no default."""
    metavar: str = ""
    """Word for the value in the usage."""

    @property
    def many(self) -> bool:
        """Whether it takes several words."""
        return get_origin(self.hint) in (tuple, list)

    @property
    def several(self) -> Argument | None:
        """What several words are read as, where one word is read as something else."""
        kinds = get_args(self.hint) if get_origin(self.hint) in (Union, types.UnionType) else ()
        found = next((kind for kind in kinds if get_origin(kind) is tuple), None)
        return None if found is None else dataclasses.replace(self, hint=found)

    def spell(self, name: str) -> str:
        """Return the name by which a user knows the argument of the field ``name``."""
        return self.metavar or name if self.positional else format_flag(name)


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag, and the words between it and the next one."""

    name: str
    typed: str
    """The flag as it was typed, with its hyphens."""
    value: str | None
    """Text after ``=``; None without that."""
    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """Flags in their order, and the words before the first one."""

    words: tuple[str, ...]
    flags: tuple[Flag, ...]

    @classmethod
    def parse(cls, argv: Sequence[str]) -> CommandLine:
        """Split a command line at its flags. Hyphens in their names become underscores."""
        starts = [index for index, word in enumerate(argv) if word.startswith("--")]
        flags = []
        for start, end in pairwise([*starts, len(argv)]):
            typed, equals, value = argv[start].partition("=")
            words = tuple(argv[start + 1 : end])
            flags.append(Flag(typed[2:].replace("-", "_"), typed, value if equals else None, words))
        return cls(tuple(argv[: starts[0]] if starts else argv), tuple(flags))

    def get_text(self, name: str) -> str | None:
        """Return the word of a flag that takes one, from where it was last given; None where it was not given.

        Raises:
            UserError: the flag has no word, or an empty one.
        """
        given = [flag for flag in self.flags if flag.name == name]
        return _require_text(_take_word(given[-1])[0], given[-1].typed) if given else None

    def read_values(self, arguments: Mapping[str, Argument]) -> dict[str, Any]:
        """Return the given values by the names of their fields. A flag that is given again has its last value.

        Raises:
            UserError: a flag is unknown (the message names the nearest one), or a value is missing, superfluous or
                unusable.
        """
        values: dict[str, Any] = {}
        alone = [(word, "") for word in self.words]
        for flag in self.flags:
            argument = arguments.get(flag.name)
            if argument is None or argument.positional:
                raise UserError(_describe_unknown(flag, arguments))
            if argument.switch:
                if flag.value is not None:
                    raise UserError(f"{flag.typed}: expected no value, found {flag.value!r}")
                values[flag.name], left = True, flag.words
            elif argument.many:
                values[flag.name], left = _parse_several(flag, argument), ()
            elif argument.several is not None and len(flag.words) > (flag.value is None):
                values[flag.name], left = _parse_several(flag, argument.several), ()
            else:
                word, left = _take_word(flag)
                values[flag.name] = _parse_one(word, argument, flag.typed)
            alone += [(word, f" after {flag.typed}") for word in left]
        for name, argument in arguments.items():
            if argument.positional and alone:
                values[name] = _parse_one(alone.pop(0)[0], argument, argument.spell(name))
        if alone:
            word, where = alone[0]
            raise UserError(f"{word}: expected a flag (--name), found this word{where}")
        return values


def _take_word(flag: Flag) -> tuple[str, tuple[str, ...]]:
    """Return the word of a flag that takes one, and the words that are left."""
    if flag.value is not None:
        return flag.value, flag.words
    if not flag.words:
        raise UserError(f"{flag.typed}: expected a value, found none")
    return flag.words[0], flag.words[1:]


def _describe_unknown(flag: Flag, arguments: Mapping[str, Argument]) -> str:
    known = [known for known, argument in arguments.items() if not argument.positional]
    near = find_nearest(flag.name, known)
    hint = f"; the nearest is {format_flag(near)}" if near else ""
    return f"{flag.typed}: unrecognized flag{hint}; --help lists all"


def _parse_several(flag: Flag, argument: Argument) -> Any:
    words = flag.words if flag.value is None else (flag.value, *flag.words)
    kind, kinds = get_origin(argument.hint), get_args(argument.hint)
    if not words:
        raise UserError(f"{flag.typed}: expected at least one value, found none")
    if kind is list or kinds[1:] == (...,):
        kinds = kinds[:1] * len(words)
    if len(kinds) != len(words):
        raise UserError(f"{flag.typed}: expected {len(kinds)} values, found {len(words)}")
    each = zip(words, kinds, strict=True)
    return kind(_parse_one(word, dataclasses.replace(argument, hint=hint), flag.typed) for word, hint in each)


def _require_text(word: str, what: str) -> str:
    if not word:
        raise UserError(f"{what}: expected a value, found an empty text")
    return word


def _parse_one(word: str, argument: Argument, what: str) -> Any:
    if not argument.empty:
        _require_text(word, what)
    try:
        value = parse_value(word, argument.hint)
    except ValueError as error:
        shown = word if len(word) <= 100 else f"{word[:100]}..."
        raise UserError(f"{what}: expected {error}, found {shown!r}") from None
    return resolve_user_path(value, what) if isinstance(value, Path) else value


def drop_flag(argv: Sequence[str], name: str) -> list[str]:
    """Return a command line without the setting ``name``."""
    line = CommandLine.parse(argv)
    words = list(line.words)
    for flag in line.flags:
        if flag.name != name:
            words += [flag.typed if flag.value is None else f"{flag.typed}={flag.value}", *flag.words]
    return words


def list_arguments(options: type[Any]) -> dict[str, Argument]:
    """Return the arguments that the fields of a dataclass declare, by name."""
    arguments = {}
    plain, full = resolve_hints(options), resolve_hints(options, extras=True)
    for field in dataclasses.fields(options):
        marks = getattr(full[field.name], "__metadata__", ())
        arguments[field.name] = Argument(
            plain[field.name],
            switch=plain[field.name] is bool,
            positional=tyro.conf.Positional in marks,
            empty=field.default == "",
            required=field.default is field.default_factory is dataclasses.MISSING,
            metavar=next((mark.metavar for mark in marks if getattr(mark, "metavar", None)), ""),
        )
    return arguments


def make_options(options: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
    """Make a command's options from the values that were given.

    Raises:
        UserError: a required value was not given, or one is out of bounds.
    """
    for name, argument in list_arguments(options).items():
        if name not in values and argument.required:
            wanted = "a word without a flag" if argument.positional else "this flag"
            raise UserError(f"{argument.spell(name)}: expected {wanted}, found none; --help says what it is for")
    try:
        return TypeAdapter(options).validate_python(dict(values))
    except ValidationError as error:
        raise UserError(explain(error, options, write=format_flag)) from None


def wants_help(argv: Sequence[str]) -> bool:
    """Whether a command line asks for ``--help``."""
    return any(word in HELP for word in argv)


def show_help(
    options: type[Any], *, prog: str, description: str | None, default: Any = tyro.MISSING_NONPROP
) -> NoReturn:
    """Print the flags, with the values of ``default`` as their defaults, and end the program."""
    try:
        tyro.cli(
            options,
            args=HELP[1:],
            prog=prog,
            description=description,
            default=default,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except BrokenPipeError:  # nobody reads on: | head
        Console().on_broken_pipe()
    raise SystemExit(0)


def read_options(options: type[OptionsT], argv: Sequence[str], *, prog: str, description: str | None) -> OptionsT:
    """Read a command line into a dataclass that has a field for each flag. ``--help`` ends the program.

    Raises:
        UserError: see :meth:`CommandLine.read_values` and :func:`make_options`.
    """
    if wants_help(argv):
        show_help(options, prog=prog, description=description)
    return make_options(options, CommandLine.parse(argv).read_values(list_arguments(options)))
