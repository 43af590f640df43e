"""One thin class per row of the paper's table."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from csg.config import Config, ConfigError
from csg.external import external_object
from csg.methods.asg import Asg
from csg.methods.csg import Csg
from csg.methods.feature_l2 import FeatureL2
from csg.methods.ibn_net import IbnNet
from csg.methods.method import Method
from csg.methods.oracle_imagenet import OracleImageNet
from csg.methods.source_only import SourceOnly
from csg.methods.synaptic_intelligence import SynapticIntelligence
from csg.methods.weight_l2 import WeightL2

METHODS: dict[str, type[Method]] = {
    "csg": Csg,
    "source_only": SourceOnly,
    "oracle_imagenet": OracleImageNet,
    "weight_l2": WeightL2,
    "synaptic_intelligence": SynapticIntelligence,
    "feature_l2": FeatureL2,
    "asg": Asg,
    "ibn_net": IbnNet,
}
DEFAULT = "csg"
ENTRY_POINTS = "csg.methods"
"""Group of entry points by which an installed package offers methods."""


def method_of(config: Config) -> type[Method]:
    """Find the method that a configuration names."""
    return find_method({"method.name": config.method.name, "method.path": config.method.path})


def name_of(method: type[Method]) -> str:
    """Return what a method calls itself: the default of its ``Config``'s field ``name``."""
    return next(str(field.default) for field in dataclasses.fields(method.Config) if field.name == "name")


def find_method(flat: Mapping[str, Any]) -> type[Method]:
    """Find the method of some settings: by ``method.path`` where it is set, else by ``method.name``.

    Raises:
        ConfigError: no such method, or what was found is none.
    """
    path, name = flat.get("method.path"), flat.get("method.name")
    if path is not None:
        method = external_object(path, setting="method.path")
        if not (isinstance(method, type) and issubclass(method, Method)):
            raise ConfigError(f"method.path: expected a subclass of csg.methods.method.Method, found {path}")
        if name not in (None, name_of(method)):
            raise ConfigError(f"method.name: expected {name_of(method)!r}, as {path} calls itself, found {name!r}")
        return method
    name = DEFAULT if name is None else name
    if name in METHODS:
        return METHODS[name]
    installed = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name in installed:
        loaded: type[Method] = installed[name].load()
        return loaded
    known = [*METHODS, *installed]
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"the nearest is {near[0]!r}; " if near else ""
    raise ConfigError(
        f"method.name: expected one of {', '.join(known)}, found {name!r} ({hint}a method of your own: "
        "--method.path module:Class or path/to/file.py:Class)"
    )
