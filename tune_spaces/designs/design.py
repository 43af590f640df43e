"""An ablation as data: what differs from cell to cell, and what each cell is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csg.messages.errors import UserError
from csg.messages.text import make_one_line

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One row of the table: a name for people, what it changes, and what it is compared with."""

    name: str
    changes: Changes
    against: str | None = None
    """Name of the cell that it is compared with, where that is not the design's base."""


@dataclass(frozen=True)
class Design:
    """Cells that are compared under the same seeds, so under the same order of images and the same new heads."""

    title: str
    """What is compared, for captions."""
    cells: tuple[Cell, ...]
    base: str
    """Name of the cell that the others are compared with."""

    def __post_init__(self) -> None:
        names = [cell.name for cell in self.cells]
        for name in names:
            if not isinstance(name, str) or not name or make_one_line(name) != name:
                raise UserError(
                    f"design: expected a cell's name to be a text in one line without hidden characters, found {name!r}"
                )
        if len(set(names)) < len(names) or self.base not in names:
            raise UserError(f"design: expected cells of different names, {self.base!r} among them, found {names}")
        for cell in self.cells:
            if cell.against not in (None, *names) or cell.against == cell.name:
                raise UserError(f"design: {cell.name!r} is compared with {cell.against!r}; expected another of {names}")

    @property
    def comparisons(self) -> dict[str, str]:
        """Name of each cell, in order, with the name of the cell that it is compared with; the base with itself."""
        return {cell.name: cell.name if cell.name == self.base else cell.against or self.base for cell in self.cells}

    @property
    def varied(self) -> set[str]:
        """The settings that the design sets, which no flag may."""
        return {name for cell in self.cells for name in cell.changes}
