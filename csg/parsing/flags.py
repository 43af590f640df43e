"""What a command or a script was told: by a command line, or by keyword arguments."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar

import tyro

from csg.config import SECTIONS, Config
from csg.config.flags import Argument, CommandLine, list_arguments, make_options, show_help, wants_help
from csg.config.settings import Flat, collect_hints, describe_unknown, flatten
from csg.messages.errors import UserError
from csg.methods import find_method
from csg.parsing.configuration import build_config, complete, overlay
from csg.parsing.files import find_settings, flatten_names, read_settings

DECISIVE: Final = ("data.name", "method.name", "method.path")
"""Settings that decide about others and their defaults."""


@dataclasses.dataclass(frozen=True)
class ConfigOptions:
    """Flags of a command that takes settings."""

    config: Path | None = None
    """YAML file with settings, or the name of a recipe of this package (such as visda17_csg); flags override it."""


@dataclasses.dataclass(frozen=True)
class StoreOptions(ConfigOptions):
    """Flags of a command that takes settings and writes to MLflow."""

    tracking_uri: str | None = None
    """MLflow store or server (default: SQLite below --train.output)."""
    experiment: str = ""
    """MLflow experiment (default: the data set's name)."""


OptionsT = TypeVar("OptionsT", bound=ConfigOptions)


@dataclasses.dataclass(frozen=True)
class Flags(Generic[OptionsT]):
    """What a command line said."""

    options: OptionsT
    """The command's own flags."""
    config: Config
    """The configuration: defaults, then what the script begins with, then ``--config``, then flags."""
    given: Flat
    """Settings that were set by a flag."""
    stated: frozenset[str] = frozenset()
    """Names of the settings that ``--config`` set, or a flag; all others have their defaults."""


def parse_flags(
    options: type[OptionsT],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    base: Mapping[str, Any] | None = None,
) -> Flags[OptionsT]:
    """Read a command line: the fields of ``options``, ``--config FILE`` and any setting as ``--section.name VALUE``.

    Settings start from ``base``, over which ``--config`` is laid. ``--help`` ends the program.

    Raises:
        UserError: a flag is unknown, of the wrong type or out of range, ``--config`` names an unusable file, or
            settings contradict each other.
    """
    line = CommandLine.parse(argv)
    if wants_help(argv):
        _show_help(options, _start_of_help(line, base), prog=prog, description=description)
    stated, start = _start(line, base)
    settings = collect_hints(Config, method=find_method(start).Config)
    own = list_arguments(options)
    values = line.read_values({**own, **{name: Argument(hint) for name, hint in settings.items()}})
    return _make_flags(options, values, start, stated)


def read_keywords(
    options: type[OptionsT], keywords: Mapping[str, Any], *, base: Mapping[str, Any] | None = None
) -> Flags[OptionsT]:
    """Read keyword arguments as :func:`parse_flags` reads a command line.

    They are the fields of ``options``, ``config=FILE`` among them, and the settings: by section
    (``train={"epochs": 2}``) or by dotted name. Paths may be texts or path objects.

    Raises:
        UserError: see :func:`parse_flags`.
    """
    own = [field.name for field in dataclasses.fields(options)]
    unknown = [name for name in keywords if name.partition(".")[0] not in {*own, *SECTIONS}]
    if unknown:
        raise UserError(describe_unknown(unknown[0], [*own, *SECTIONS]))
    settings = {name: value for name, value in keywords.items() if name not in own}
    for name, value in settings.items():
        if name in SECTIONS and not isinstance(value, dict):
            raise UserError(f"{name}: expected settings by name, such as {name}={{'name': ...}}, found {value!r}")
    named = flatten_names(settings, what="settings", where="among the arguments")
    given = {name: _write_paths(value) for name, value in named.items()}
    options_given = {name: value for name, value in keywords.items() if name in own and value is not None}
    config = options_given.get("config")
    stated, start = _begin(None if config is None else os.fspath(config), given, base)
    return _make_flags(options, {**options_given, **given}, start, stated)


def _write_paths(value: Any) -> Any:
    """Write path objects as the texts that settings are."""
    if isinstance(value, (list, tuple)):
        return [_write_paths(each) for each in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _make_flags(
    options: type[OptionsT], values: Mapping[str, Any], start: Mapping[str, Any], stated: frozenset[str]
) -> Flags[OptionsT]:
    """Make flags of options' and settings' values, these over ``start``; ``stated`` are the names that the file set."""
    own = {field.name for field in dataclasses.fields(options)}
    given = {name: value for name, value in values.items() if name not in own}
    config = complete({**start, **given})
    flat = flatten(config)
    made = make_options(options, {name: value for name, value in values.items() if name in own})
    return Flags(made, config, {name: flat[name] for name in given}, frozenset([*stated, *given]))


def _start(line: CommandLine, base: Mapping[str, Any] | None) -> tuple[frozenset[str], Flat]:
    """Return the names of ``--config``'s settings, and what flags change: ``base`` under these, under pair and method.

    Raises:
        UserError: ``--config`` names an unusable file, or there is no such method.
    """
    return _begin(line.get_text("config"), {name: line.get_text(name) for name in DECISIVE}, base)


def _begin(file: str | None, given: Mapping[str, Any], base: Mapping[str, Any] | None) -> tuple[frozenset[str], Flat]:
    """See :func:`_start`: ``file`` is that of ``--config``, and ``given`` holds what decides about other settings."""
    told = {} if file is None else read_settings(find_settings(file))
    chosen = {name: given.get(name) for name in DECISIVE}
    chosen = {name: value for name, value in chosen.items() if value not in (None, "None")}
    start = overlay({**(base or {}), **told}, chosen)
    find_method(start)
    return frozenset(name for name in told if name in start), start


def _start_of_help(line: CommandLine, base: Mapping[str, Any] | None) -> Flat:
    """Return the settings that help shows as defaults: ``base`` where the command line cannot be used."""
    try:
        _, start = _start(line, base)
        build_config(start)
    except UserError:
        return dict(base or {})
    return start


def _show_help(options: type[Any], start: Mapping[str, Any], *, prog: str, description: str) -> NoReturn:
    flags = dataclasses.make_dataclass(
        "flags",
        [
            ("options", Annotated[options, tyro.conf.arg(name="")]),
            ("config", Annotated[Config, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff]),
        ],
    )
    show_help(flags, prog=prog, description=description, default=flags(options(), build_config(start)))
