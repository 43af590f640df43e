"""What to run: search spaces, designs, and the scripts that run them.

``import tune_spaces`` offers the names in ``__all__``, for notebooks and scripts. They are described in
:mod:`tune_spaces.notebook`, which is imported, with Ray, when one of them is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tune_spaces.notebook import FinishedSearch, start_search

__all__ = ["FinishedSearch", "start_search"]

if not TYPE_CHECKING:  # a type checker would otherwise accept every name

    def __getattr__(name: str) -> object:
        """Return what :mod:`tune_spaces.notebook` has under a name of ``__all__``."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("tune_spaces.notebook"), name)


def __dir__() -> list[str]:
    return list(__all__)
