"""One thin class a method: CSG, and what it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from csg.config import Config, MethodConfig
from csg.config.external import import_object
from csg.messages.errors import UserError
from csg.messages.wording import find_nearest
from csg.methods.asg import Asg
from csg.methods.csg import Csg
from csg.methods.drpc import Drpc
from csg.methods.feature_l2 import FeatureL2
from csg.methods.gcisg import Gcisg
from csg.methods.ibn_net import IbnNet
from csg.methods.low_rank import LowRank
from csg.methods.lp_ft import LpFt
from csg.methods.method import Method
from csg.methods.miro import Miro
from csg.methods.mixstyle import MixStyle
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
    "drpc": Drpc,
    "low_rank": LowRank,
    "lp_ft": LpFt,
    "miro": Miro,
    "mixstyle": MixStyle,
    "gcisg": Gcisg,
}
DEFAULT = "csg"
ENTRY_POINTS = "csg.methods"
"""Group of entry points by which an installed package offers methods."""


def find_method_class(config: Config) -> type[Method]:
    """Find the method that a configuration names."""
    return find_method({"method.name": config.method.name, "method.path": config.method.path})


def get_method_name(method: type[Method]) -> str:
    """Return what a method calls itself: the default of its ``Config``'s field ``name``."""
    return next(str(field.default) for field in dataclasses.fields(method.Config) if field.name == "name")


def _is_named(method: type[Method]) -> bool:
    """Whether a method's Config says what it is called."""
    config = getattr(method, "Config", None)
    return (
        isinstance(config, type) and issubclass(config, MethodConfig) and isinstance(getattr(config, "name", None), str)
    )


def _import_offered(entry: EntryPoint) -> type[Method]:
    """Import a method that an installed package offers.

    Raises:
        UserError: it cannot be imported, is no method, or calls itself otherwise.
    """
    what = f"method.name: the entry point {entry.name} = {entry.value}"
    try:
        method = entry.load()
    except Exception as error:  # whatever a stranger's module raises when it is imported
        raise UserError(f"{what} cannot be imported ({type(error).__name__}: {error})") from error
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UserError(f"{what} should be a subclass of csg.methods.method.Method, found {method!r}")
    if get_method_name(method) != entry.name:
        raise UserError(
            f"{what} calls itself {get_method_name(method)!r}; expected its Config to have the field "
            f"name: str = {entry.name!r}"
        )
    return method


def find_method(flat: Mapping[str, Any]) -> type[Method]:
    """Find the method of some settings: by ``method.path`` where it is set, else by ``method.name``.

    Raises:
        UserError: no such method, or what was found is none.
    """
    path, name = flat.get("method.path"), flat.get("method.name")
    for setting, value in (("method.path", path), ("method.name", name)):
        if not (value is None or isinstance(value, str)):
            raise UserError(f"{setting}: expected a text, found {value!r}")
    if path is not None:
        method = import_object(path, setting="method.path")
        if not (isinstance(method, type) and issubclass(method, Method)):
            raise UserError(f"method.path: expected a subclass of csg.methods.method.Method, found {path}")
        if not _is_named(method):
            raise UserError(
                f"method.path: expected {path} to have a Config, a subclass of csg.config.MethodConfig that sets the "
                "field name: str; found none"
            )
        if name not in (None, get_method_name(method)):
            raise UserError(
                f"method.name: expected {get_method_name(method)!r}, as {path} calls itself, found {name!r}"
            )
        return method
    name = DEFAULT if name is None else name
    if name in METHODS:
        return METHODS[name]
    installed = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name in installed:
        return _import_offered(installed[name])
    known = [*METHODS, *installed]
    near = find_nearest(str(name), known)
    hint = f"the nearest is {near!r}; " if near else ""
    raise UserError(
        f"method.name: expected one of {', '.join(known)}, found {name!r} ({hint}a method of your own: "
        "--method.path module:Class or path/to/file.py:Class)"
    )
