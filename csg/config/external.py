"""Objects from outside the package, by the place a setting gives: ``module:NAME`` or ``path/to/file.py:NAME``.

A module is looked for where Python looks, and then in the current folder. A file is imported with its own folder on the
path, as if it was run, so that it can import what lies beside it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from csg.messages.errors import UserError
from csg.storage.files import file_digest
from csg.storage.paths import absolute_path, user_path


def external_object(place: str, *, setting: str) -> Any:
    """Import what ``place`` names.

    Raises:
        UserError: it cannot be imported, or has no such name; the message names ``setting``.
    """
    where, _, name = place.rpartition(":")
    if not where or not name:
        raise UserError(f"{setting}: expected module:NAME or path/to/file.py:NAME, found {place!r}")
    if where.endswith(".py"):
        path = user_path(where, setting)
        if not path.is_file():
            raise UserError(
                f"{setting}: expected a Python file, found {'none' if path.exists() else 'nothing'} at {where}"
            )
        where = str(path)
    try:
        module = _imported(where, name)
    except UserError as error:  # what the module declares is at fault, and says so
        raise UserError(f"{setting}: {where}: {error}") from None
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises when it is imported
        raise UserError(f"{setting}: cannot import {where} ({type(error).__name__}: {error})") from error
    if not hasattr(module, name):
        raise UserError(f"{setting}: {where} has no {name}")
    return getattr(module, name)


def _imported(where: str, name: str) -> ModuleType:
    if where.endswith(".py"):
        return _from_file(Path(where))
    file = _in_current_folder(where)
    try:
        module = importlib.import_module(where)
    except ModuleNotFoundError as error:
        if file is None or error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise
    else:
        # A script's own folder is on the path: a module in it is not what the user means who has one of its name here.
        if file is None or hasattr(module, name):
            return module
    return _from_file(file)


def _in_current_folder(module: str) -> Path | None:
    """Return the file of a module in the current folder; None where there is none."""
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    path = Path.cwd().joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _from_file(path: Path) -> ModuleType:
    """Import a file once for each content, so that an edited file is not mistaken for the one before."""
    name = f"csg_external_{path.stem}_{file_digest(str(path))[:10]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _first_on_path(str(path.absolute().parent)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    """Look for modules in ``folder`` first; after the block last, for what is imported when a function is called."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def depends_on_folder(place: str) -> bool:
    """Whether another thing may be imported from ``place`` in another current folder. Nothing is imported to say so."""
    where, _, _ = place.rpartition(":")
    if where.endswith(".py"):
        return not Path(where).is_absolute()
    file = _in_current_folder(where)
    if file is None:
        return False
    try:
        found = importlib.util.find_spec(where.partition(".")[0])
    except ValueError:  # a module that was made without one
        return True
    parts = where.split(".")[1:]
    if found is None or not parts:
        return found is None or found.origin == str(file)
    below = [Path(folder, *parts) for folder in found.submodule_search_locations or ()]
    return not any(path.with_suffix(".py").is_file() or (path / "__init__.py").is_file() for path in below)


def with_absolute_path(place: str) -> str:
    """Resolve the file of ``path/to/file.py:NAME``, or of a module in the current folder, against that folder.

    Other processes have another current folder. A module that they find themselves stays as it is.
    """
    where, _, name = place.rpartition(":")
    if where.endswith(".py"):
        return f"{absolute_path(where, 'method.path')}:{name}"
    file = _in_current_folder(where)
    if file is None:
        return place
    module = _imported(where, name)
    # What lies here and is no package may be on this process's path only because it was started here.
    here = "." not in where and file.stem != "__init__" and getattr(module, "__file__", None) == str(file)
    return f"{file}:{name}" if here or module.__name__ != where else place
