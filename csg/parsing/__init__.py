"""From text to a configuration: dotted names, YAML files, flags and keywords, checked at the boundary."""

from __future__ import annotations

from csg.parsing.configuration import build_config, overlay, to_yaml, with_absolute_paths
from csg.parsing.files import find_recipe, list_recipes, read_yaml
from csg.parsing.flags import ConfigOptions, Flags, StoreOptions, parse_flags, read_keywords

__all__ = [
    "ConfigOptions",
    "Flags",
    "StoreOptions",
    "build_config",
    "find_recipe",
    "list_recipes",
    "overlay",
    "parse_flags",
    "read_keywords",
    "read_yaml",
    "to_yaml",
    "with_absolute_paths",
]
