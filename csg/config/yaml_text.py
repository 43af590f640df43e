"""YAML as used for settings, in files and on command lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import IO, Any

import yaml


class _Loader(yaml.SafeLoader):
    """Reads ``1e-4`` as a number, as learning rates are written, and refuses a name that is set twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a dictionary.

        Raises:
            ConstructorError: a name is set twice.
        """
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is set twice", key.start_mark)
            names.add(str(key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that :class:`_Loader` would read as numbers."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
    )


def load(text: str | IO[bytes]) -> Any:
    """Read one document.

    Raises:
        YAMLError: it is not YAML; see :func:`explain`.
        ValueError: it holds an impossible value, such as a date in a thirteenth month.
        RecursionError: it is nested too deeply.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader with one more number form)


def dump(flat: Mapping[str, Any]) -> str:
    """Write names and values, one pair a line, so that :func:`load` returns the same values."""
    return yaml.dump(dict(flat), Dumper=_Dumper, sort_keys=False)


def explain(error: yaml.YAMLError) -> str:
    """Say in one line what is wrong, and where in the text."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return where + " ".join(str(what).split())
