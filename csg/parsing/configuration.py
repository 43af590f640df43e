"""A configuration from dotted names, with what follows from its settings and from where it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csg.config import Config, ModelConfig, yaml_text
from csg.config.external import FROM_OUTSIDE, resolve_place
from csg.config.pairs import DEFAULT_PAIR, get_defaults
from csg.config.sections import TRANSFORMERS
from csg.config.settings import (
    DIGITS,
    Flat,
    Place,
    build,
    collect_hints,
    describe_unknown,
    find_marks,
    find_places,
    flatten,
    number_place,
)
from csg.messages.errors import UserError
from csg.methods import find_method, get_method_name
from csg.models.own_encoder import find_own_class
from csg.models.weights_folder import find_folder, read_preparation
from csg.storage.address import check_address, is_address
from csg.storage.paths import resolve_path


def build_config(flat: Mapping[str, Any]) -> Config:
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


def to_yaml(config: Config) -> str:
    """Write every setting as ``dotted.name: value``, readable by :func:`csg.parsing.read_yaml` and by people."""
    return yaml_text.dump(flatten(config))


def complete(stated: Mapping[str, Any]) -> Config:
    """Build the configuration of the settings that somebody stated, here and now.

    Paths become absolute, the cache lies below a stated ``train.output``, and images have the size that the encoder
    knows.

    Raises:
        UserError: see :func:`build_config` and :func:`with_absolute_paths`.
    """
    config = build_config(stated)
    if "train.output" in stated and "data.cache" not in stated:
        output = config.train.output
        cache = None if is_address(output) else str(Path(output) / "cache")
        config = build_config(flatten(config) | {"data.cache": cache})
    config = with_absolute_paths(config)
    side = None if "data.image_size" in stated else find_image_side(config)
    return config if side is None else build_config(flatten(config) | {"data.image_size": side})


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
        UserError: an empty text, an address of what may not lie in a bucket; or see
            :func:`csg.storage.paths.resolve_path`.
    """
    flat = flatten(config)
    found: Flat = {}
    written = find_places(config, "written")
    marks = find_marks(config, Place)
    # train.output first: data.cache lies below it unless told otherwise, and would be blamed for it.
    for name, text in sorted(find_places(config).items(), key=lambda place: place[0] != "train.output"):
        if not text:
            raise UserError(f"{name}: expected a path, found {text!r}; omit it, or set None")
        if not is_address(text):
            found[name] = resolve_path(text, name, written=name in written)
        elif marks[name.partition(" ")[0]].in_buckets:
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
    return build_config(flat | found)
