"""Objects from outside the package, which a setting names as ``module:NAME`` or ``path/to/file.py:NAME``.

A module is searched for on Python's path, and then in the current folder. A file is imported with its own folder on the
path, as if it were run, so that it can import the files beside it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from csg.messages.errors import UserError
from csg.storage.files import digest_file
from csg.storage.paths import resolve_path, resolve_user_path

T = TypeVar("T")
FROM_OUTSIDE: Final = ("method.path", "model.path", "model.teacher_path")
"""Settings that name code from outside the package."""


def import_object(place: str, *, setting: str) -> Any:
    """Import the object that ``place`` names.

    Raises:
        UserError: it cannot be imported, or has no such name. The message names ``setting``.
    """
    where, _, name = place.rpartition(":")
    if not where or not name:
        raise UserError(f"{setting}: expected module:NAME or path/to/file.py:NAME, found {place!r}")
    if where.endswith(".py"):
        path = resolve_user_path(where, setting)
        if not path.is_file():
            raise UserError(
                f"{setting}: expected a Python file, found {'none' if path.exists() else 'nothing'} at {where}"
            )
        where = str(path)
    try:
        module = _import(where, name)
    except UserError as error:  # of what the module declares
        raise UserError(f"{setting}: {where}: {error}") from None
    except (Exception, SystemExit) as error:  # a module from outside may raise anything
        raise UserError(f"{setting}: cannot import {where} ({type(error).__name__}: {error})") from error
    if not hasattr(module, name):
        raise UserError(f"{setting}: {where} has no {name}")
    return getattr(module, name)


def find_object(name: str, shipped: Mapping[str, T], kind: type[T], setting: str) -> T:
    """Return what is shipped under a name, or import what ``name`` names.

    Raises:
        UserError: there is none, or it is of another kind.
    """
    if name in shipped:
        return shipped[name]
    found = import_object(name, setting=setting) if ":" in name else None
    if not isinstance(found, kind):
        raise UserError(
            f"{setting}: expected one of {', '.join(shipped)} or module:{kind.__name__.upper()}, found {name!r}"
        )
    return found


def _import(where: str, name: str) -> ModuleType:
    if where.endswith(".py"):
        return _import_file(Path(where))
    file = _find_in_current_folder(where)
    try:
        module = importlib.import_module(where)
    except ModuleNotFoundError as error:
        if file is None or error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise
    else:
        # A script's own folder is on the path. If the current folder has a module of the same name, that one is meant.
        if file is None or hasattr(module, name):
            return module
    return _import_file(file)


def _find_in_current_folder(module: str) -> Path | None:
    """Return the file of a module in the current folder, or None where there is none."""
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    path = Path.cwd().joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _import_file(path: Path) -> ModuleType:
    """Import a file once for each content. A file that was edited is imported anew."""
    name = f"csg_external_{path.stem}_{digest_file(str(path))[:10]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _put_first_on_path(str(path.absolute().parent)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _put_first_on_path(folder: str) -> Iterator[None]:
    """Search ``folder`` for modules first, and after the block last: a function may import when it is called."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def depends_on_folder(place: str) -> bool:
    """Whether ``place`` may name another object in another current folder. This imports nothing."""
    where, _, _ = place.rpartition(":")
    if where.endswith(".py"):
        return not Path(where).is_absolute()
    file = _find_in_current_folder(where)
    if file is None:
        return False
    try:
        found = importlib.util.find_spec(where.partition(".")[0])
    except ValueError:  # of a module without a specification
        return True
    parts = where.split(".")[1:]
    if found is None or not parts:
        return found is None or found.origin == str(file)
    below = [Path(folder, *parts) for folder in found.submodule_search_locations or ()]
    return not any(path.with_suffix(".py").is_file() or (path / "__init__.py").is_file() for path in below)


def resolve_place(place: str, setting: str = "method.path") -> str:
    """Return ``place`` in a form that names the same object in processes with another current folder.

    Paths, and modules of the current folder, become absolute paths. A module on Python's path stays as it is.
    """
    where, _, name = place.rpartition(":")
    if where.endswith(".py"):
        return f"{resolve_path(where, setting)}:{name}"
    file = _find_in_current_folder(where)
    if file is None:
        return place
    module = _import(where, name)
    # A module of this folder may be on the path only because this process was started here.
    here = "." not in where and file.stem != "__init__" and getattr(module, "__file__", None) == str(file)
    return f"{file}:{name}" if here or module.__name__ != where else place
