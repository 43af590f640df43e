"""From text to a configuration: dotted names, YAML files and command-line flags, checked at the boundary."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

import tyro
import yaml
from pydantic import ValidationError

from csg.address import checked_address, is_address
from csg.config import Config
from csg.external import with_absolute_path
from csg.methods import find_method, name_of
from csg.object_store import address_of, file_of
from csg.pairs import defaults_of
from csg.paths import absolute_path, with_user_paths
from csg.settings import ConfigError, Flat, build, explain, field_names, flatten, hints, places, unknown
from csg.storage import opened

OptionsT = TypeVar("OptionsT")
SEARCHES: Final = "searches"
"""Folder below ``train.output`` that holds the searches' own."""
JOURNAL: Final = "journal.jsonl"
"""File in a search's folder."""


class _Loader(yaml.SafeLoader):
    """YAML in which ``1e-4`` is a number, as everyone who writes a learning rate expects."""


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that :class:`_Loader` would take for numbers."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
    )


def config_from_flat(flat: Mapping[str, Any]) -> Config:
    """Build a configuration from dotted names; absent names keep the defaults of the pair and the method.

    Raises:
        ConfigError: an unknown method or name (with the nearest valid one), a wrong type or a value out of range.
    """
    method = find_method(flat)
    name = name_of(method)
    flat = {**defaults_of(pair=flat.get("data.name", ""), method=name), **flat, "method.name": name}
    types = hints(Config) | {"method": method.Config}
    known = [f"{section}.{field}" for section, cls in types.items() for field in field_names(cls)]
    for given in flat:
        if given not in known:
            raise ConfigError(unknown(given, known))
    sections = {
        section: build(
            cls,
            {k.removeprefix(f"{section}."): v for k, v in flat.items() if k.startswith(f"{section}.")},
            f"{section}.",
        )
        for section, cls in types.items()
    }
    try:
        return Config(**sections)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def overlay(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Flat:
    """Put ``changes`` over ``base``; with another method, the settings of the former one go."""
    other = [name for name in ("method.name", "method.path") if changes.get(name, base.get(name)) != base.get(name)]
    if other and find_method({**dict.fromkeys(other), **changes}) is not find_method(base):
        base = {name: value for name, value in base.items() if not name.startswith("method.")}
    return {**base, **changes}


def read_yaml(path: Path) -> Flat:
    """Read dotted names from a YAML file, whose sections may also be nested.

    Raises:
        ConfigError: the file is missing or holds something else than settings.
    """
    try:
        with opened(path) as file:
            loaded = yaml.load(file, Loader=_Loader)  # noqa: S506 (a SafeLoader with one more number form)
    except FileNotFoundError:
        raise ConfigError(f"--config: cannot read {address_of(path)} (there is no such file)") from None
    except OSError as error:
        raise ConfigError(f"--config: cannot read {path} ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"--config: {path} is not YAML: {error}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"--config: expected settings (name: value) in {path}, found {type(loaded).__name__}")
    return _dotted(loaded)


def _from_file(path: Path) -> Flat:
    """Read settings; those that a search wrote are for the output folder that it lies in, wherever that was moved."""
    flat = read_yaml(path)
    output, lies_in = flat.get("train.output"), path.absolute().parents
    above = next((folder.parent for folder in lies_in if folder.name == SEARCHES), None)
    if above is None or not isinstance(output, str) or is_address(output) or not path.with_name(JOURNAL).exists():
        return flat
    moved = {"train.output": str(above)}
    cache = flat.get("data.cache")
    if isinstance(cache, str) and Path(cache).is_relative_to(output):
        moved["data.cache"] = str(above / Path(cache).relative_to(output))
    return flat | moved


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Flat:
    flat: Flat = {}
    for name, value in tree.items():
        flat |= _dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def to_yaml(config: Config) -> str:
    """Write every setting as ``dotted.name: value``, readable by :func:`read_yaml` and by people."""
    return yaml.dump(flatten(config), Dumper=_Dumper, sort_keys=False)


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

    ``options`` must have a field ``config`` of type ``Path | None``; without that flag, settings start from ``base``.
    Exits with status 2 and an explanation when a flag is unknown, of the wrong type or out of range.

    Raises:
        ConfigError: ``--config`` names an unusable file, or settings contradict each other.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    for name in ("data.name", "method.name", "method.path"):  # what decides about other settings and their defaults
        first.add_argument(f"--{name}")
    early, _ = first.parse_known_args(argv)
    start = _from_file(file_of(early.config, "--config")) if early.config else dict(base or {})
    start = overlay(start, {name: value for name, value in vars(early).items() if "." in name and value})
    flags = dataclasses.make_dataclass(
        "flags",
        [
            ("options", Annotated[options, tyro.conf.arg(name=""), tyro.conf.FlagCreatePairsOff]),
            ("config", Annotated[Config, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff]),
        ],
    )
    parsed: Any = tyro.cli(
        flags,
        args=list(argv),
        default=flags(options(), config_from_flat(start)),
        prog=prog,
        description=description,
        use_underscores=True,
    )
    flagged = [match[1].replace("-", "_") for match in (re.match(r"--(\w+\.[\w.-]+)", arg) for arg in argv) if match]
    config = parsed.config
    if "train.output" in {*start, *flagged} and "data.cache" not in {*start, *flagged}:
        output = config.train.output
        cache = None if is_address(output) else str(Path(output) / "cache")
        config = config_from_flat(flatten(config) | {"data.cache": cache})
    config = with_absolute_paths(config)
    flat = flatten(config)
    stated = frozenset([*flagged, *(start if early.config else ())])
    return Flags(with_user_paths(parsed.options), config, {name: flat[name] for name in flagged}, stated)


def with_absolute_paths(config: Config) -> Config:
    """Resolve paths against the working directory, which workers do not share.

    Raises:
        ConfigError: an address, where only ``train.output`` may be one; or see :func:`csg.paths.absolute_path`.
    """
    flat = flatten(config)
    found = {}
    written = places(config, "written")
    # train.output first: data.cache lies below it unless told otherwise, and would be blamed for it.
    for name, text in sorted(places(config).items(), key=lambda place: place[0] != "train.output"):
        if not is_address(text):
            found[name] = absolute_path(text, name, written=name in written)
        elif name == "train.output":
            found[name] = checked_address(text, name)
        else:
            raise ConfigError(f"{name}: expected a path, found the address {text}; mount it, and give its path")
    if flat["method.path"] is not None:
        found["method.path"] = with_absolute_path(flat["method.path"])
    return config_from_flat(flat | found)
