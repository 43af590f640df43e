"""Files of settings: YAML, and the recipes that come with the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from csg.config import yaml_text
from csg.config.settings import Flat
from csg.messages.errors import UserError
from csg.storage.address import is_address
from csg.storage.disk import DiskPlace
from csg.storage.layout import JOURNAL, SEARCHES, place_to_read
from csg.storage.place import Place

RECIPES: Final = Path(__file__).parents[1] / "recipes"
"""Folder of the recipes, a YAML file each."""


def list_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package, in alphabetical order."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def find_recipe(name: str) -> Place:
    """Return the file of the recipe of a name; there need not be one."""
    return DiskPlace(RECIPES / f"{name}.yaml")


def find_settings(text: str) -> Place:
    """Return the file that ``--config`` names: a path, an address, or a recipe where there is no such file.

    Raises:
        UserError: see :func:`csg.storage.layout.place_to_read`.
    """
    place = place_to_read(text, "--config")
    name = text.removesuffix(".yaml")
    return find_recipe(name) if name in list_recipes() and not place.exists() else place


def read_yaml(place: Place) -> Flat:
    """Read dotted names from a YAML file, whose sections may also be nested.

    Raises:
        UserError: the file is missing or holds something else than settings.
        OSError: the machine cannot read it; see :mod:`csg.messages.faults`.
    """
    try:
        loaded = yaml_text.load_file(place.open, place, wanted="--config: ")
    except FileNotFoundError:
        known = ", ".join(list_recipes())
        raise UserError(f"--config: cannot read {place} (there is no such file); recipes by name: {known}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"--config: expected settings (name: value) in {place}, found {type(loaded).__name__}")
    return flatten_names(loaded, what="--config", where=f"in {place}")


def flatten_names(tree: Mapping[str, Any], *, what: str, where: str) -> Flat:
    """Turn settings, which may be nested in their sections, into dotted names.

    Raises:
        UserError: a setting is there twice, or a section within itself. The message says of ``what``, and ``where``.
    """
    try:
        names = [name for name, _ in _flatten(tree)]
    except RecursionError:
        raise UserError(f"{what}: expected sections and settings {where}, found one within itself") from None
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{what}: expected {name} once {where}, found it {names.count(name)} times")
    return dict(_flatten(tree))


def read_settings(place: Place) -> Flat:
    """Read a file of settings.

    Those that a search wrote are for the output folder that it lies in, wherever that was moved.
    """
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


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting's dotted name and value."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
