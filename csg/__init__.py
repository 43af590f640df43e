"""Contrastive Syn-to-Real Generalization (CSG) and its rivals: train and measure one configuration.

``import csg`` offers the names in ``__all__``, for notebooks and scripts. They are described in :mod:`csg.notebook`,
which is imported, with torch, when one of them is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from csg.environment import set_defaults

if TYPE_CHECKING:
    from csg.notebook import Config, FinishedRun, Predictor, UserError, configure, load, read_runs, train

__all__ = ["Config", "FinishedRun", "Predictor", "UserError", "configure", "load", "read_runs", "train"]

set_defaults()

if not TYPE_CHECKING:  # a type checker would otherwise accept every name

    def __getattr__(name: str) -> object:
        """Return what :mod:`csg.notebook` has under a name of ``__all__``."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("csg.notebook"), name)


def __dir__() -> list[str]:
    return list(__all__)
