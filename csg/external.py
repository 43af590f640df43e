"""Objects from outside the package, by the place a setting gives: ``module:NAME`` or ``path/to/file.py:NAME``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from csg.paths import absolute_path, user_path
from csg.settings import ConfigError
from csg.storage import file_digest


def external_object(place: str, *, setting: str) -> Any:
    """Import what ``place`` names.

    Raises:
        ConfigError: it cannot be imported, or has no such name; the message names ``setting``.
    """
    where, _, name = place.rpartition(":")
    if not where or not name:
        raise ConfigError(f"{setting}: expected module:NAME or path/to/file.py:NAME, found {place!r}")
    try:
        module = _from_file(user_path(where, setting)) if where.endswith(".py") else importlib.import_module(where)
    except FileNotFoundError:
        raise ConfigError(f"{setting}: expected a Python file, found nothing at {where}") from None
    except ConfigError as error:  # what the module declares is at fault, and says so
        raise ConfigError(f"{setting}: {where}: {error}") from None
    except Exception as error:  # whatever a stranger's module raises when it is imported
        raise ConfigError(f"{setting}: cannot import {where} ({type(error).__name__}: {error})") from error
    if not hasattr(module, name):
        raise ConfigError(f"{setting}: {where} has no {name}")
    return getattr(module, name)


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
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def with_absolute_path(place: str) -> str:
    """Resolve the file of ``path/to/file.py:NAME`` against the working directory; a module stays as it is."""
    where, _, name = place.rpartition(":")
    return f"{absolute_path(where, 'method.path')}:{name}" if where.endswith(".py") else place
