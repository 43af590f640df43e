"""The tables over an ablation's cells: main comparison, figures by class, diversity, and the ablation's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np

from analysis.runs.run_table import AblationRuns, Outputs, RunTable
from analysis.runs.task_figures import task_of
from analysis.statistics.bootstrap import accuracy_bootstrap, mean_iou_bootstrap
from analysis.statistics.inference import Interval
from analysis.tables.cell_table import Column, cell_table
from analysis.tables.published import published_score
from analysis.tables.table import MISSING, Entry, Table
from csg.config.names import make_metric_name
from csg.data.pair import SOURCE_VAL, TARGET_TEST
from csg.messages.text import make_one_line
from csg.tracking import TrackedRun
from csg.tracking.classes import read_classes

E0_COLUMN = Column("E_0 (mhe)", "target/test/E0_mhe", better="lower")
SECONDS = Column("s/epoch", "seconds_per_epoch", decimals=1)


def ablation_table(ablation: AblationRuns, *, mix: Collection[str] = ()) -> Table:
    """Say what each cell does to the figure on real images, tested against the cell that it is compared with."""
    task = task_of(ablation.runs)
    source = f"source {task.headline_words}"
    columns = (
        Column(f"real {task.headline_words} %", f"{TARGET_TEST}/{task.headline}", 100, 1, "higher", tested=True),
        *(() if task.one_label else (Column(f"real {task.overall_words} %", task.real_overall, 100, 1),)),
        Column(f"{source} %", f"selected/{SOURCE_VAL}/{task.headline}", 100, 1),
        dataclasses.replace(E0_COLUMN, better=""),
        SECONDS,
    )
    note = f"{source[0].upper() + source[1:]} on source/val, of the same weights."
    return cell_table(ablation, columns, name=f"ablation_{ablation.design}", title=ablation.title, mix=mix, note=note)


def main_comparison(table: RunTable, ablation: AblationRuns, *, mix: Collection[str] = ()) -> Table:
    """Compare methods by the task's score (mean class accuracy, VisDA-17's metric, or mean IoU) and diversity.

    An interval over test images stands beside the spread over seeds: what other images of the same kind could change.
    With the paper's own protocol on the paper's data and model, the published figure and the difference to it follow.
    """
    task = task_of(ablation.runs)
    columns = (
        Column("mean class %" if task.one_label else f"{task.score_words} %", task.real_score, 100, 1, "higher"),
        Column(f"{task.overall_words} %", task.real_overall, 100, 1),
        E0_COLUMN,
        Column("E_1", "target/test/E1", better="lower"),
        Column("E_2", "target/test/E2", better="lower"),
    )
    note = (
        f"Over images: 95 % bootstrap interval of the {task.score_words} averaged over the seeds, test images drawn "
        "anew. E_0 in the convention mhe, log(1/d²); E_s: lower is more diverse."
    )
    made = cell_table(ablation, columns, name="main_comparison", title=ablation.title, mix=mix, note=note)
    finished = {name: [run for run in ablation.cell(name) if run.status == "finished"] for name in ablation.comparisons}
    over_images = {name: _over_images(table, runs) for name, runs in finished.items()}
    made = _with_column(made, 3, "over images %", over_images)
    return _with_published(made, finished)


def per_class_table(ablation: AblationRuns, *, mix: Collection[str] = ()) -> Table:
    """Show the accuracy, or the IoU, of each class."""
    task = task_of(ablation.runs)
    prefix = f"{TARGET_TEST}/{task.by_class}/"
    classes = {name for run in ablation.runs for name in read_classes(run.tags)} or {
        name.removeprefix(prefix) for run in ablation.runs for name in run.metrics if name.startswith(prefix)
    }
    columns = [
        Column(make_one_line(name), make_metric_name(f"{prefix}{name}"), 100, 1, "higher") for name in sorted(classes)
    ]
    title = f"{ablation.title}: {task.class_words} by class, %"
    return cell_table(ablation, columns, name="per_class", title=title, mix=mix)


def diversity_table(ablation: AblationRuns, *, mix: Collection[str] = ()) -> Table:
    """Show the hyperspherical energies of the features of real images, in both conventions."""
    columns = (
        E0_COLUMN,
        Column("E_0 (literal)", "target/test/E0_literal", better="lower"),
        Column("E_1", "target/test/E1", better="lower"),
        Column("E_2", "target/test/E2", better="lower"),
        Column("pairs floored", "target/test/floored_pairs", decimals=0),
        Column("zero vectors", "target/test/zero_vectors", decimals=0),
    )
    note = (
        "Energies of l2-normalised features, mean over pairs; lower is more diverse. mhe: log(1/d²), as the paper's "
        "printed figures; literal: log(1/d), its formula. Distances are floored at 1e-6."
    )
    title = f"{ablation.title}: diversity of features"
    return cell_table(ablation, columns, name="diversity", title=title, mix=mix, note=note)


def _over_images(table: RunTable, runs: list[TrackedRun]) -> Entry:
    """Return the bootstrap interval over test images of the score averaged over the runs of a cell."""
    outputs = [table.outputs(run) for run in runs]
    answered = [each for each in outputs if each is not None]
    if not answered or len(answered) < len(runs):
        return Entry(MISSING)
    found = _interval(answered)
    if found is None:
        return Entry(MISSING)
    metric = task_of(runs).real_score
    values = {run.run_id: run.metrics[metric] for run in runs}
    return Entry(f"[{100 * found.low:.1f}, {100 * found.high:.1f}]", "", metric, values)


def _interval(answered: list[Outputs]) -> Interval | None:
    """Return the interval; None where runs saw different images, some of which could not be read."""
    confusions = [each.confusions for each in answered if each.confusions is not None]
    if len(confusions) == len(answered):
        truth = confusions[0].sum(axis=2)
        same = all(np.array_equal(each.sum(axis=2), truth) for each in confusions)
        return mean_iou_bootstrap(np.stack(confusions)).interval if same else None
    labels = answered[0].labels
    if labels is None or any(each.labels is None or not np.array_equal(each.labels, labels) for each in answered):
        return None
    correct = np.stack([each.predicted == each.labels for each in answered])
    return accuracy_bootstrap(correct, labels, mean_class=True).interval


def _with_published(made: Table, finished: Mapping[str, list[TrackedRun]]) -> Table:
    """Add the published figure and the difference to it, where a cell's runs are comparable with it."""
    published = {name: published_score(runs) for name, runs in finished.items()}
    if not any(figure is not None for figure in published.values()):
        return made
    figures = {name: Entry(MISSING if figure is None else f"{figure:.2f}") for name, figure in published.items()}
    deltas = {}
    for name, figure in published.items():
        metric = task_of(finished[name]).real_score
        values = {run.run_id: run.metrics[metric] for run in finished[name] if metric in run.metrics}
        complete = figure is not None and len(values) == len(finished[name]) > 0
        mean = 100 * sum(values.values()) / len(values) if complete else 0.0
        deltas[name] = Entry(f"{mean - (figure or 0):+.1f}", "", metric, values) if complete else Entry(MISSING)
    made = _with_column(made, len(made.columns), "paper %", figures)
    made = _with_column(made, len(made.columns), "Δ to paper", deltas)
    task = task_of(run for runs in finished.values() for run in runs)
    paper = f"Paper: CSG (ICLR 2021), table {1 if task.one_label else 5}, {task.score_words}."
    return dataclasses.replace(made, caption=f"{made.caption} {paper}")


def _with_column(made: Table, at: int, heading: str, entries: Mapping[str, Entry]) -> Table:
    """Insert a column, whose place counts the labels' one as 0."""
    rows = tuple(
        dataclasses.replace(row, entries=(*row.entries[: at - 1], entries[row.label], *row.entries[at - 1 :]))
        for row in made.rows
    )
    return dataclasses.replace(made, columns=(*made.columns[:at], heading, *made.columns[at:]), rows=rows)
