"""A table with a row for each cell of an ablation: means over seeds, tests against the base, marks by rule."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.runs.cells import Cells, by_seed, check_unmixed, protocol_that_selected, target_queries, whole
from analysis.runs.run_table import AblationRuns
from analysis.runs.task_figures import task_of
from analysis.statistics.inference import Mark, PairedDifference, holm, marks, paired_difference
from analysis.tables.table import MISSING, Emphasis, Entry, Row, Table
from csg.messages.wording import pluralize

EMPHASIS: dict[Mark, Emphasis] = {"best": "best", "not distinguishable": "not distinguishable"}


@dataclass(frozen=True)
class Column:
    """A metric of runs, and how it is shown."""

    heading: str
    metric: str
    factor: float = 1.0
    decimals: int = 3
    better: Literal["higher", "lower", ""] = ""
    """Which values are marked; empty for none."""
    tested: bool = False
    """Whether the difference to the base follows in columns of its own."""


def cell_table(
    ablation: AblationRuns,
    columns: Sequence[Column],
    *,
    name: str,
    title: str,
    mix: Collection[str] = (),
    note: str = "",
) -> Table:
    """Tabulate an ablation's finished runs, a row for each cell of its design.

    Figures are means over seeds with the *sample* standard deviation; with one seed, the figure alone. Differences are
    paired by seed, with Student's t interval; their p-values are corrected within the table (Holm).

    Raises:
        MixedRunsError: runs that must not be summed up together; see :func:`analysis.runs.cells.check_unmixed`.
    """
    comparisons = ablation.comparisons
    cells: Cells = {cell: [run for run in ablation.cell(cell) if run.status == "finished"] for cell in comparisons}
    said = check_unmixed(cells, allowed=mix)
    shown = [_entries(cells, comparisons, column) for column in columns]
    headings = ["cell", "n", *(heading for column in columns for heading in _headings(column, comparisons))]
    rows = []
    for index, cell in enumerate(comparisons):
        begun = len(ablation.cell(cell))
        done = len(cells[cell])
        count = Entry(str(done) if done == begun else f"{done} of {begun}")
        rows.append(Row(cell, (count, *(entry for entries in shown for entry in entries[index]))))
    caption = " ".join([*_caption(ablation, cells, columns), *([note] if note else []), *said])
    return Table(name, title, tuple(headings), tuple(rows), caption)


def _headings(column: Column, comparisons: dict[str, str]) -> list[str]:
    if not column.tested:
        return [column.heading]
    against = [] if len(set(comparisons.values())) == 1 else ["against"]
    return [column.heading, *against, "Δ [95 % interval]", "p (Holm)"]


def _entries(cells: Cells, comparisons: dict[str, str], column: Column) -> list[list[Entry]]:
    """Return a column's entries, and those of its test, by cell."""
    values = {cell: by_seed(runs, column.metric) for cell, runs in cells.items()}
    found = {
        cell: {seed: column.factor * value for seed, value in by.items()} for cell, by in values.items() if whole(by)
    }
    higher = column.better == "higher"
    marked = marks(found, higher_is_better=higher, decimals=column.decimals) if column.better else {}
    ids = {cell: {int(run.params["train.seed"]): run.run_id for run in runs} for cell, runs in cells.items()}
    entries = []
    for cell in cells:
        text = spread([column.factor * value for value in values[cell].values()], column.decimals)
        behind = {ids[cell][seed]: value for seed, value in values[cell].items()}
        entries.append([Entry(text, EMPHASIS.get(marked.get(cell, "missing"), ""), column.metric, behind)])
    if column.tested:
        differences = _differences(cells, comparisons, column)
        adjusted = dict(zip(differences, holm([each.p for each in differences.values()]), strict=True))
        several = len(set(comparisons.values())) > 1
        for row, (cell, against) in zip(entries, comparisons.items(), strict=True):
            behind = {**(row[0].values or {}), **{ids[against][seed]: v for seed, v in values[against].items()}}
            is_base = cell == against
            difference = MISSING if is_base else _difference(differences.get(cell), column)
            sources = None if is_base else behind
            row.extend([Entry(MISSING if is_base else against)] if several else [])
            row.append(Entry(difference, "", column.metric, sources))
            row.append(Entry(p_text(adjusted.get(cell)), "", column.metric, sources))
    return entries


def _differences(cells: Cells, comparisons: dict[str, str], column: Column) -> dict[str, PairedDifference]:
    """Compare each cell that has all its figures with the one that it is compared with, by cell."""
    values = {cell: by_seed(runs, column.metric) for cell, runs in cells.items()}
    return {
        cell: paired_difference(values[cell], values[against])
        for cell, against in comparisons.items()
        if cell != against and whole(values[cell]) and whole(values[against])
    }


def _difference(difference: PairedDifference | None, column: Column) -> str:
    if difference is None or difference.mean is None:
        return MISSING
    mean = f"{column.factor * difference.mean:+.{column.decimals}f}"
    if difference.interval is None:
        return mean
    low, high = (column.factor * end for end in (difference.interval.low, difference.interval.high))
    return f"{mean} [{low:+.{column.decimals}f}, {high:+.{column.decimals}f}]"


def p_text(p: float | None) -> str:
    """Write a p-value with three decimals; none as missing."""
    if p is None:
        return MISSING
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def spread(values: Sequence[float], decimals: int) -> str:
    """Write mean ± sample standard deviation; a lone value alone, none as missing.

    A value that is not a number makes the whole figure missing: it is not averaged away.
    """
    if not values or not all(math.isfinite(value) for value in values):
        return MISSING
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.{decimals}f}"
    return f"{mean:.{decimals}f} ± {statistics.stdev(values):.{decimals}f}"


def _caption(ablation: AblationRuns, cells: Cells, columns: Sequence[Column]) -> list[str]:
    finished = [run for runs in cells.values() for run in runs]
    images = sorted({int(run.metrics["target/test/images"]) for run in finished if "target/test/images" in run.metrics})
    protocols = sorted({protocol_that_selected(run) for run in finished})
    queries = sum(target_queries(run) for run in finished)
    tested = [column for column in columns if column.tested]
    task = task_of(ablation.runs)
    measured = "Real accuracy" if task.one_label else f"Real {task.score_words}, {task.overall_words}"
    bases = list(dict.fromkeys(ablation.comparisons.values()))
    seen = pluralize(images[0], "image") if len(images) == 1 else f"{_listed(images)} images"
    asked = pluralize(queries, "target query", "target queries")
    lines = ["Mean ± sample standard deviation over n seeds."]
    if finished:
        lines.append(
            f"{measured} and energies on the {seen} of target/test, measured once a run, on its selected weights. "
            f"Protocol that selected the epoch: {_listed(protocols)} ({asked})."
        )
    else:
        lines.append("No run has finished.")
    if not task.one_label:
        lines.append("IoU: of all pixels of the images together; its mean is over the classes that occur there.")
    if any(column.better for column in columns):
        lines.append(
            "Bold: the best mean; †: not distinguishable from it (paired t test over seeds, Holm-corrected, 5 %)."
        )
    if tested:
        base = f"{bases[0]!r}" if len(bases) == 1 else "the cell named"
        lines.append(
            f"Δ: difference of {tested[0].heading} to {base}, paired by seed, with its 95 % t interval; p of the "
            "paired t test, Holm-corrected within this table."
        )
    every = [each for column in tested for each in _differences(cells, ablation.comparisons, column).values()]
    if any(each.untestable for each in every):
        lines.append(
            f"p {MISSING}: a cell's differences are equal under all seeds, so that there is no spread to test by."
        )
    lost = {run.status for run in ablation.runs} - {"finished"}
    if lost:
        lines.append(f"n of m: the others are {', '.join(sorted(lost))}, and in no figure.")
    if any(not whole(by_seed(runs, column.metric)) for runs in cells.values() for column in columns if runs):
        lines.append(f"{MISSING}: a run of that cell has no finite figure.")
    if {len(runs) for runs in cells.values()} == {1}:
        lines.append("One seed: no spread, no test.")
    return lines


def _listed(values: Sequence[object]) -> str:
    return ", ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in values) or "none"
