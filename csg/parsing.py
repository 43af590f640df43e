"""From text to a configuration: dotted names, YAML files and command-line flags, checked at the boundary."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar

import tyro
import yaml

from csg.config import Config, ModelConfig, yaml_text
from csg.config.external import FROM_OUTSIDE, resolve_place
from csg.config.flags import Argument, CommandLine, list_arguments, make_options, show_help, wants_help
from csg.config.pairs import DEFAULT_PAIR, get_defaults
from csg.config.sections import TRANSFORMERS
from csg.config.settings import (
    DIGITS,
    Flat,
    build,
    collect_hints,
    describe_unknown,
    find_places,
    flatten,
    number_place,
)
from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault
from csg.methods import find_method, get_method_name
from csg.models.own_encoder import find_own_class
from csg.models.weights_folder import find_folder, read_preparation
from csg.storage.address import check_address, is_address
from csg.storage.layout import JOURNAL, SEARCHES, place_to_read
from csg.storage.paths import resolve_path
from csg.storage.place import Place

DECISIVE: Final = ("data.name", "method.name", "method.path")
"""Settings that decide about others and their defaults."""


@dataclasses.dataclass(frozen=True)
class ConfigOptions:
    """Flags of a command that takes settings."""

    config: Path | None = None
    """YAML file with settings; flags override it."""


@dataclasses.dataclass(frozen=True)
class StoreOptions(ConfigOptions):
    """Flags of a command that takes settings and writes to MLflow."""

    tracking_uri: str | None = None
    """MLflow store or server (default: SQLite below --train.output)."""
    experiment: str = ""
    """MLflow experiment (default: the data set's name)."""


OptionsT = TypeVar("OptionsT", bound=ConfigOptions)


def config_from_flat(flat: Mapping[str, Any]) -> Config:
    """Build a configuration from dotted names; absent names keep the defaults of the pair and the method.

    Raises:
        UserError: an unknown method or name (with the nearest valid one), a wrong type or a value out of range.
    """
    method = find_method(flat)
    name = get_method_name(method)
    pair = flat.get("data.name", DEFAULT_PAIR)
    defaults = get_defaults(pair=pair if isinstance(pair, str) else "", method=name)
    flat = {**defaults, **flat, **_name_own_encoders(flat), "method.name": name}
    known = list(collect_hints(Config, method=method.Config))
    for given, value in flat.items():
        if given not in known:
            raise UserError(describe_unknown(given, known))
        if isinstance(value, int) and abs(value) >= 10**DIGITS:
            raise UserError(f"{given}: expected a number of at most {DIGITS} digits, found a larger one")
    return build(Config, flat, method=method.Config)


def _name_own_encoders(flat: Mapping[str, Any]) -> Flat:
    """Name the encoders from outside by their classes.

    Raises:
        UserError: they cannot be imported, or are given another name.
    """
    names: Flat = {}
    for place, name in (("model.path", "model.name"), ("model.teacher_path", "model.teacher_name")):
        if isinstance(flat.get(place), str):
            names[name] = find_own_class(flat[place], place).__name__
            if flat.get(name) not in (None, names[name]):
                raise UserError(
                    f"{name}: expected {names[name]!r}, the class that {place} names, or none, found {flat[name]!r}"
                )
    return names


def overlay(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Flat:
    """Put ``changes`` over ``base``; with another method, the settings of the former one go."""
    other = [name for name in ("method.name", "method.path") if changes.get(name, base.get(name)) != base.get(name)]
    if other and find_method({**dict.fromkeys(other), **changes}) is not find_method(base):
        base = {name: value for name, value in base.items() if not name.startswith("method.")}
    return {**base, **changes}


def read_yaml(place: Place) -> Flat:
    """Read dotted names from a YAML file, whose sections may also be nested.

    Raises:
        UserError: the file is missing or holds something else than settings.
        OSError: the machine cannot read it; see :mod:`csg.messages.faults`.
    """
    try:
        with place.open() as file:
            loaded = yaml_text.load(file)
    except FileNotFoundError:
        raise UserError(f"--config: cannot read {place} (there is no such file)") from None
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise UserError(f"--config: cannot read {place} ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise UserError(f"--config: cannot read {place} as YAML: {yaml_text.explain(error)}") from None
    except (ValueError, RecursionError) as error:  # of a date that is none, say
        raise UserError(f"--config: {place} has a value that cannot be read ({str(error).partition(';')[0]})") from None
    if not isinstance(loaded, dict):
        raise UserError(f"--config: expected settings (name: value) in {place}, found {type(loaded).__name__}")
    try:
        names = [name for name, _ in _dotted(loaded)]
    except RecursionError:
        raise UserError(f"--config: expected sections and settings in {place}, found one within itself") from None
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--config: expected {name} once in {place}, found it {names.count(name)} times")
    return dict(_dotted(loaded))


def _from_file(place: Place) -> Flat:
    """Read settings; those that a search wrote are for the output folder that it lies in, wherever that was moved."""
    flat, path = read_yaml(place), place.local.absolute()
    output, lies_in = flat.get("train.output"), path.parents
    above = next((folder.parent for folder in lies_in if folder.name == SEARCHES), None)
    if above is None or not isinstance(output, str) or is_address(output) or not path.with_name(JOURNAL).exists():
        return flat
    moved = {"train.output": str(above)}
    cache = flat.get("data.cache")
    if isinstance(cache, str) and Path(cache).is_relative_to(output):
        moved["data.cache"] = str(above / Path(cache).relative_to(output))
    return flat | moved


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting's dotted name and value."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def to_yaml(config: Config) -> str:
    """Write every setting as ``dotted.name: value``, readable by :func:`read_yaml` and by people."""
    return yaml_text.dump(flatten(config))


@dataclasses.dataclass(frozen=True)
class Flags(Generic[OptionsT]):
    """What a command line said."""

    options: OptionsT
    """The command's own flags."""
    config: Config
    """The configuration: defaults, then ``--config``, then flags."""
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

    Without ``--config``, settings start from ``base``. ``--help`` ends the program.

    Raises:
        UserError: a flag is unknown, of the wrong type or out of range, ``--config`` names an unusable file, or
            settings contradict each other.
    """
    line = CommandLine.parse(argv)
    if wants_help(argv):
        _show_help(options, _start_of_help(line, base), prog=prog, description=description)
    start = _start(line, base)
    settings = collect_hints(Config, method=find_method(start).Config)
    own = list_arguments(options)
    values = line.read_values({**own, **{name: Argument(hint) for name, hint in settings.items()}})
    given = {name: value for name, value in values.items() if name not in own}
    config = config_from_flat({**start, **given})
    if "train.output" in {*start, *given} and "data.cache" not in {*start, *given}:
        output = config.train.output
        cache = None if is_address(output) else str(Path(output) / "cache")
        config = config_from_flat(flatten(config) | {"data.cache": cache})
    config = with_absolute_paths(config)
    side = None if "data.image_size" in {*start, *given} else find_image_side(config)
    if side is not None:
        config = config_from_flat(flatten(config) | {"data.image_size": side})
    flat = flatten(config)
    stated = frozenset([*given, *(start if line.get_text("config") is not None else ())])
    made = make_options(options, {name: value for name, value in values.items() if name in own})
    return Flags(made, config, {name: flat[name] for name in given}, stated)


def _start(line: CommandLine, base: Mapping[str, Any] | None) -> Flat:
    """Return the settings that flags change: those of ``--config``, or ``base``, under the chosen pair and method.

    Raises:
        UserError: ``--config`` names an unusable file, or there is no such method.
    """
    file = line.get_text("config")
    start = dict(base or {}) if file is None else _from_file(place_to_read(file, "--config"))
    chosen = {name: line.get_text(name) for name in DECISIVE}
    start = overlay(start, {name: text for name, text in chosen.items() if text not in (None, "None")})
    find_method(start)
    return start


def _start_of_help(line: CommandLine, base: Mapping[str, Any] | None) -> Flat:
    """Return the settings that help shows as defaults: ``base`` where the command line cannot be used."""
    try:
        start = _start(line, base)
        config_from_flat(start)
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
    show_help(flags, prog=prog, description=description, default=flags(options(), config_from_flat(start)))


def _find_transformers(config: Config) -> dict[str, ModelConfig]:
    """Return the encoders whose weights are a folder, or a name on the hub, by the setting that says which."""
    encoders = {"model.weights": config.model}
    if config.model.teacher is not None and config.model.teacher_weights is not None:
        encoders["model.teacher_weights"] = config.model.teacher
    return {
        name: encoder
        for name, encoder in encoders.items()
        if encoder.name == TRANSFORMERS and encoder.path is None and not Path(encoder.weights).is_file()
    }


def find_image_side(config: Config) -> int | None:
    """Return the side of the images that the encoder knows, of an image's class; None where nothing says so."""
    folder = _find_transformers(config).get("model.weights")
    if folder is None or config.data.task != "classification":
        return None
    return read_preparation(find_folder(folder.weights, "model.weights"), "model.weights").side


def with_absolute_paths(config: Config) -> Config:
    """Resolve paths against the working directory, which workers do not share.

    Raises:
        UserError: an empty text, an address, where only ``train.output`` may be one; or see
            :func:`csg.storage.paths.resolve_path`.
    """
    flat = flatten(config)
    found: Flat = {}
    written = find_places(config, "written")
    # train.output first: data.cache lies below it unless told otherwise, and would be blamed for it.
    for name, text in sorted(find_places(config).items(), key=lambda place: place[0] != "train.output"):
        if not text:
            raise UserError(f"{name}: expected a path, found {text!r}; omit it, or set None")
        if not is_address(text):
            found[name] = resolve_path(text, name, written=name in written)
        elif name == "train.output":
            found[name] = check_address(text, name)
        else:
            raise UserError(f"{name}: expected a path, found the address {text}; mount it, and give its path")
    for name, value in flat.items():
        if isinstance(value, tuple) and name in found:
            found[name] = tuple(found.pop(number_place(name, number)) for number in range(len(value)))
    for name in FROM_OUTSIDE:
        if flat[name] is not None:
            found[name] = resolve_place(flat[name], name)
    for name, encoder in _find_transformers(config).items():
        found[name] = str(find_folder(encoder.weights, name))
    return config_from_flat(flat | found)
