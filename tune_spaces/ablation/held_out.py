"""What an ablation under ``held_out_source`` trains before its cells: every cell without each source in turn."""

from __future__ import annotations

import dataclasses

from analysis.runs.newest import WITHOUT_SOURCES
from csg.data.held_out import HELD_OUT
from csg.training.dry_run import check_trainable
from csg.training.mean_run import list_parts
from tune_spaces.ablation.ablation import Ablation, CellRun
from tune_spaces.designs.design import Cell, Design


def plan_parts(ablation: Ablation) -> list[Ablation]:
    """Return the ablation over a design's trainings without each source; none under other protocols.

    When it is done, the figures of an ablation's own runs on held-out sources are known: they are means over these.

    Raises:
        UserError: one of the trainings cannot be started, for want of images or of several sources.
    """
    runs: list[CellRun] = []
    for whole in ablation.runs:
        if whole.config.selection.protocol != "held_out_source" or HELD_OUT in whole.pair.streams:
            continue
        for source, part in list_parts(whole.config, whole.pair).items():
            if whole.config.train.seed == ablation.runs[0].config.train.seed:
                check_trainable(part)
            cell = Cell(_name_part(whole.cell.name, source), {**whole.cell.changes, "data.held_out": source})
            runs.append(CellRun(_compare(cell, whole.cell.name, source, ablation.design), part.config, part.pair))
    if not runs:
        return []
    by_name = {run.cell.name: run.cell for run in runs}
    cells = tuple(
        cell if cell.against in by_name else dataclasses.replace(cell, against=None) for cell in by_name.values()
    )
    title = f"{ablation.design.title}: without each source"
    base = next((cell.name for cell in cells if cell.against is None), cells[0].name)
    design = Design(title=title, cells=cells, base=base)
    return [dataclasses.replace(ablation, name=f"{ablation.name}{WITHOUT_SOURCES}", design=design, runs=tuple(runs))]


def _name_part(cell: str, source: str) -> str:
    return f"{cell} without {source}"


def _compare(part: Cell, cell: str, source: str, design: Design) -> Cell:
    """Compare a part with that of its cell's own base that lacks the same source; a base's with the first one."""
    other = design.comparisons[cell]
    return part if other == cell else dataclasses.replace(part, against=_name_part(other, source))
