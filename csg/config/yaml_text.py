"""YAML as used for settings, in files and on command lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import IO, Any

import yaml

from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault


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


def load(text: str | bytes) -> Any:
    """Read one document.

    Raises:
        YAMLError: it is not YAML; see :func:`explain`.
        ValueError: it holds an impossible value, such as a date in a thirteenth month.
        RecursionError: it is nested too deeply.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader with one more number form)


def load_file(open_file: Callable[[], AbstractContextManager[IO[bytes]]], path: object, *, wanted: str) -> Any:
    """Read the one document of a user's file.

    Args:
        open_file: opens it.
        path: names it in errors.
        wanted: how errors begin: whose file it is, and what should be in it.

    Raises:
        UserError: the file cannot be read, or not as YAML.
        FileNotFoundError: there is none.
        OSError: the machine cannot read it; see :mod:`csg.messages.faults`.
    """
    try:
        with open_file() as file:
            content = file.read()
    except OSError as error:
        if isinstance(error, FileNotFoundError) or is_machine_fault(error):
            raise
        raise UserError(f"{wanted}cannot read {path} ({error.strerror})") from error
    except ValueError as error:  # of a path that no file can have
        raise UserError(f"{wanted}cannot read {path} ({error})") from None
    try:
        return load(content)
    except yaml.YAMLError as error:
        raise UserError(f"{wanted}cannot read {path} as YAML: {explain(error)}") from None
    except (ValueError, RecursionError) as error:  # of a date that is none, say
        raise UserError(f"{wanted}{path} has a value that cannot be read ({str(error).partition(';')[0]})") from None


def dump(flat: Mapping[str, Any]) -> str:
    """Write names and values, one pair a line, so that :func:`load` returns the same values."""
    return yaml.dump(dict(flat), Dumper=_Dumper, sort_keys=False)


def explain(error: yaml.YAMLError) -> str:
    """Say in one line what is wrong, and where in the text."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return where + " ".join(str(what).split())
