"""A table with a row for each cell of an ablation: means over seeds, tests against the base, marks by rule."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from analysis.inference.t_tests import Mark, PairedDifference, holm, mark_cells, paired_difference
from analysis.runs.comparable import check_unmixed, collect_by_seed, is_complete
from analysis.runs.metrics import LAST_EPOCH, count_target_queries, describe_protocol, get_task
from analysis.runs.run_table import AblationRuns
from analysis.tables.table import MISSING, Emphasis, Entry, Table, arrange_cells
from csg.messages.wording import pluralize
from csg.training.score_words import describe_queries

EMPHASIS: Final[dict[Mark, Emphasis]] = {"best": "best", "not distinguishable": "not distinguishable"}


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
    """Whether columns with the difference to the base and its test follow."""


def make_cell_table(
    ablation: AblationRuns,
    columns: Sequence[Column],
    *,
    name: str,
    title: str,
    mix: Collection[str] = (),
    note: str = "",
) -> Table:
    """Tabulate an ablation's finished runs, a row for each cell of its design.

    A figure is the mean over seeds with the *sample* standard deviation; with one seed, the value alone. Differences
    are paired by seed and have Student's t interval. Their p-values are corrected within the table (Holm). A figure
    that no finished run has, because its data have no labels for it, is no column.

    Raises:
        MixedRunsError: see :func:`analysis.runs.comparable.check_unmixed`.
    """
    mixed = check_unmixed(ablation.finished_cells, mix=mix)
    columns = _keep_measured(ablation, columns)
    made = [_make_entries(ablation, column) for column in columns]
    rows = {}
    for cell, finished in ablation.finished_cells.items():
        begun, done = len(ablation.get_cell(cell)), len(finished)
        count = Entry(str(done) if done == begun else f"{done} of {begun}")
        rows[cell] = [count, *(entry for entries in made for entry in entries[cell])]
    test = [*(["against"] if ablation.has_several_bases else []), "Δ [95 % interval]", "p (Holm)"]
    headings = [each for column in columns for each in (column.heading, *(test if column.tested else []))]
    caption = " ".join([*_write_caption(ablation, columns), *([note] if note else []), *mixed])
    return Table(name, title, arrange_cells(["cell", "n", *headings], rows), caption)


def _keep_measured(ablation: AblationRuns, columns: Sequence[Column]) -> list[Column]:
    """Return the columns of which any finished run has a figure; all where none has finished."""
    measured = {name for run in ablation.finished for name in run.metrics}
    return [column for column in columns if not ablation.finished or column.metric in measured]


def _make_entries(ablation: AblationRuns, column: Column) -> dict[str, list[Entry]]:
    """Return the figure of each cell, and its test."""
    values = _collect(ablation, column)
    scaled = {
        cell: {seed: column.factor * value for seed, value in by_seed.items()} for cell, by_seed in values.items()
    }
    complete = {cell: by_seed for cell, by_seed in scaled.items() if is_complete(by_seed)}
    higher = column.better == "higher"
    marks = mark_cells(complete, higher_is_better=higher, decimals=column.decimals) if column.better else {}
    behind = {
        cell: dict(zip([run.run_id for run in runs], values[cell].values(), strict=True))
        for cell, runs in ablation.finished_cells.items()
    }
    entries = {}
    for cell, by_seed in scaled.items():
        text = format_mean(list(by_seed.values()), column.decimals)
        entries[cell] = [Entry(text, EMPHASIS.get(marks.get(cell, "missing"), ""), column.metric, behind[cell])]
    if column.tested:
        differences = _compare(ablation, column)
        adjusted = dict(zip(differences, holm([each.p for each in differences.values()]), strict=True))
        for cell, base in ablation.comparisons.items():
            is_base = cell == base
            runs = None if is_base else {**behind[cell], **behind[base]}
            if ablation.has_several_bases:
                entries[cell].append(Entry(MISSING if is_base else base))
            for text in (_format_difference(differences.get(cell), column), format_p(adjusted.get(cell))):
                entries[cell].append(Entry(text, "", column.metric, runs))
    return entries


def _collect(ablation: AblationRuns, column: Column) -> dict[str, dict[int, float]]:
    """Return the column's metric of each cell's finished runs, by seed."""
    return {cell: collect_by_seed(runs, column.metric) for cell, runs in ablation.finished_cells.items()}


def _compare(ablation: AblationRuns, column: Column) -> dict[str, PairedDifference]:
    """Compare each cell with its base, if no value of the two is missing."""
    values = _collect(ablation, column)
    return {
        cell: paired_difference(values[cell], values[base])
        for cell, base in ablation.comparisons.items()
        if cell != base and is_complete(values[cell]) and is_complete(values[base])
    }


def _format_difference(difference: PairedDifference | None, column: Column) -> str:
    if difference is None or difference.mean is None:
        return MISSING
    mean = f"{column.factor * difference.mean:+.{column.decimals}f}"
    if difference.interval is None:
        return mean
    low, high = (column.factor * end for end in (difference.interval.low, difference.interval.high))
    return f"{mean} [{low:+.{column.decimals}f}, {high:+.{column.decimals}f}]"


def format_p(p: float | None) -> str:
    """Write a p-value with three decimals, or None as missing."""
    if p is None:
        return MISSING
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def format_mean(values: Sequence[float], decimals: int) -> str:
    """Write mean ± sample standard deviation, or a lone value alone.

    The figure is missing if there are no values or one of them is not finite.
    """
    if not values or not all(map(math.isfinite, values)):
        return MISSING
    mean = f"{statistics.fmean(values):.{decimals}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{decimals}f}"


def _write_caption(ablation: AblationRuns, columns: Sequence[Column]) -> list[str]:
    """Return the sentences of a caption: what the figures are, and what is missing."""
    task = get_task(ablation.runs)
    images = sorted(
        {int(run.metrics[each]) for run in ablation.finished if (each := "target/test/images") in run.metrics}
    )
    protocols = sorted({describe_protocol(run) for run in ablation.finished})
    asked = [str(run.params["selection.protocol"]) for run in ablation.finished if count_target_queries(run)]
    queries = describe_queries(sum(map(count_target_queries, ablation.finished)), asked)
    sentences = ["Mean ± sample standard deviation over n seeds."]
    if ablation.finished and not images:
        sentences.append("The data have no target/test, so that no figure says how right a cell is on real images.")
    elif ablation.finished:
        figures = "Real accuracy" if task.one_label else f"Real {task.score_words}, {task.overall_words}"
        seen = pluralize(images[0], "image") if len(images) == 1 else f"{_list(images)} images"
        weights = f"on its last epoch's weights ({queries})."
        if protocols != [LAST_EPOCH]:
            weights = f"on its selected weights. Protocol that selected the epoch: {_list(protocols)} ({queries})."
        sentences.append(f"{figures} and energies on the {seen} of target/test, measured once a run, {weights}")
    else:
        sentences.append("No run has finished.")
    if not task.one_label:
        sentences.append("IoU: of all pixels of the images together; its mean is over the classes that occur there.")
    if any(column.better for column in columns):
        sentences.append(
            "Bold: the best mean; †: not distinguishable from it (paired t test over seeds, Holm-corrected, 5 %)."
        )
    tested = [column for column in columns if column.tested]
    if tested:
        bases = list(dict.fromkeys(ablation.comparisons.values()))
        base = f"{bases[0]!r}" if len(bases) == 1 else "the cell named"
        sentences.append(
            f"Δ: difference of {tested[0].heading} to {base}, paired by seed, with its 95 % t interval; p of "
            "the paired t test, Holm-corrected within this table."
        )
    if any(each.untestable for column in tested for each in _compare(ablation, column).values()):
        sentences.append(
            f"p {MISSING}: a cell's differences are equal under all seeds, so that there is no spread to test by."
        )
    lost = {run.status for run in ablation.runs} - {"finished"}
    if lost:
        sentences.append(f"n of m: the others are {', '.join(sorted(lost))}, and in no figure.")
    if any(each and not is_complete(each) for column in columns for each in _collect(ablation, column).values()):
        sentences.append(f"{MISSING}: a run of that cell has no finite figure.")
    if set(map(len, ablation.finished_cells.values())) == {1}:
        sentences.append("One seed: no spread, no test.")
    return sentences


def _list(values: Sequence[object]) -> str:
    return ", ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in values) or "none"
