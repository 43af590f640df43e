"""The program that a number depends on: the files that training and measuring import, and their digest.

A run is known by this digest, so a change of a command, of what talks to Ray and MLflow or of what is said in
:mod:`csg.messages` orphans no run. A word within a file that computes does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
ROOTS: Final = ("csg.training.loop", "csg.training.outputs", "csg.training.pictures", "csg.environment")
"""Modules that train, measure and keep what was measured, and what libraries are told before; all that they import
computes too."""
NOT_COMPUTING: Final = ("messages", "storage", "__init__.py")
"""Rooms that they use for words and for files, and the package's own ``__init__.py``: no number depends on these."""


def find_computing_files(root: Path = ROOT) -> list[Path]:
    """Find the files of the package at ``root`` that a number depends on: those that the ROOTS import, sorted.

    To import a module is to import the packages around it too. An import within a function counts.
    """
    waiting, found = list(ROOTS), dict[str, Path]()
    while waiting:
        module = waiting.pop()
        path = _find_file(module, root)
        if path is None or module in found or path.relative_to(root).parts[0] in NOT_COMPUTING:
            continue
        found[module] = path
        waiting += [module.rpartition(".")[0], *_find_imports(path)]
    return sorted(found.values(), key=lambda path: path.relative_to(root).as_posix())


def _find_file(module: str, root: Path) -> Path | None:
    """Return the file of a module below ``root``; None for other packages' and for names that are no modules."""
    place = root.parent.joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py") if place.is_relative_to(root) else ()
    return next((path for path in files if path.is_file()), None)


def _find_imports(path: Path) -> Iterator[str]:
    """Yield what a file imports: modules, and names that may be modules of a package; nothing amid somebody's edit."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def compute_program_digest(root: Path = ROOT) -> str:
    """Compute ten hexadecimal digits that name the sources that compute, as they are on disk now."""
    digest = sha256()
    for path in find_computing_files(root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:10]


@lru_cache(maxsize=1)
def get_program_digest() -> str:
    """Return the digest of the sources as they were when this process first asked."""
    return compute_program_digest()
