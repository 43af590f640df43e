"""An ablation as data: what is common, what differs from cell to cell, and which seeds each cell gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from csg.config import ConfigError

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One row of the table: a name for people, and what it changes."""

    name: str
    changes: Changes


@dataclass(frozen=True)
class Design:
    """Cells that are compared under the same seeds, so under the same order of images and the same new heads."""

    title: str
    """What is compared, for captions."""
    cells: tuple[Cell, ...]
    base: str
    """Name of the cell that the others are compared with."""
    common: Changes = field(default_factory=dict)
    """Settings of all cells."""

    def __post_init__(self) -> None:
        names = [cell.name for cell in self.cells]
        if len(set(names)) < len(names) or self.base not in names:
            raise ConfigError(f"design: expected cells of different names, {self.base!r} among them, found {names}")

    @property
    def varied(self) -> set[str]:
        """The settings that cells set, which no flag may."""
        return {name for cell in self.cells for name in cell.changes}
