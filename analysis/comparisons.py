"""The tables over an ablation's cells: main comparison, accuracy by class, diversity, and the ablation's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from analysis.bootstrap import accuracy_bootstrap
from analysis.cell_table import Column, cell_table
from analysis.published import published_accuracy
from analysis.run_table import Ablation, RunTable
from analysis.table import MISSING, Entry, Table
from csg.tracking import TrackedRun

ACCURACY: Final = "target/test/accuracy"
MEAN_CLASS: Final = "target/test/mean_class_accuracy"
CLASS_ACCURACY: Final = "target/test/class_accuracy/"
E0 = Column("E_0 (mhe)", "target/test/E0_mhe", better="lower")
SECONDS = Column("s/epoch", "seconds_per_epoch", decimals=1)


def ablation_table(ablation: Ablation, *, mix: Collection[str] = ()) -> Table:
    """Say what each cell does to real accuracy, tested against the cell that it is compared with."""
    columns = (
        Column("real accuracy %", ACCURACY, 100, 1, "higher", tested=True),
        Column("source accuracy %", "selected/source/val/accuracy", 100, 1),
        dataclasses.replace(E0, better=""),
        SECONDS,
    )
    note = "Source accuracy on source/val, of the same weights."
    return cell_table(ablation, columns, name=f"ablation_{ablation.design}", title=ablation.title, mix=mix, note=note)


def main_comparison(table: RunTable, ablation: Ablation, *, mix: Collection[str] = ()) -> Table:
    """Compare methods by mean class accuracy (VisDA-17's metric) and diversity.

    An interval over test images stands beside the spread over seeds: what other images of the same kind could change.
    With the paper's own protocol on the paper's data and model, the published accuracy and the difference to it follow.
    """
    columns = (
        Column("mean class %", MEAN_CLASS, 100, 1, "higher"),
        Column("accuracy %", ACCURACY, 100, 1),
        E0,
        Column("E_1", "target/test/E1", better="lower"),
        Column("E_2", "target/test/E2", better="lower"),
    )
    note = (
        "Over images: 95 % bootstrap interval of the mean class accuracy averaged over the seeds, test images drawn "
        "anew. E_0 in the convention mhe, log(1/d²); E_s: lower is more diverse."
    )
    made = cell_table(ablation, columns, name="main_comparison", title=ablation.title, mix=mix, note=note)
    finished = {name: [run for run in ablation.cell(name) if run.status == "finished"] for name in ablation.comparisons}
    over_images = {name: _over_images(table, runs) for name, runs in finished.items()}
    made = _with_column(made, 3, "over images %", over_images)
    return _with_published(made, finished)


def per_class_table(ablation: Ablation, *, mix: Collection[str] = ()) -> Table:
    """Show the accuracy of each class."""
    names = {
        name.removeprefix(CLASS_ACCURACY)
        for run in ablation.runs
        for name in run.metrics
        if name.startswith(CLASS_ACCURACY)
    }
    columns = [Column(name, f"{CLASS_ACCURACY}{name}", 100, 1, "higher") for name in sorted(names)]
    title = f"{ablation.title}: accuracy by class, %"
    return cell_table(ablation, columns, name="per_class", title=title, mix=mix)


def diversity_table(ablation: Ablation, *, mix: Collection[str] = ()) -> Table:
    """Show the hyperspherical energies of the features of real images, in both conventions."""
    columns = (
        E0,
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
    """Return the bootstrap interval over test images of the accuracy averaged over the runs of a cell."""
    outputs = [table.outputs(run) for run in runs]
    answered = [each for each in outputs if each is not None]
    if not answered or len(answered) < len(runs):
        return Entry(MISSING)
    labels = answered[0].labels
    if any(not np.array_equal(each.labels, labels) for each in answered):
        return Entry(MISSING)  # images that could not be read were left out: the runs saw different ones
    correct = np.stack([each.predicted == each.labels for each in answered])
    found = accuracy_bootstrap(correct, labels, mean_class=True).interval
    values = {run.run_id: run.metrics[MEAN_CLASS] for run in runs}
    return Entry(f"[{100 * found.low:.1f}, {100 * found.high:.1f}]", "", MEAN_CLASS, values)


def _with_published(made: Table, finished: Mapping[str, list[TrackedRun]]) -> Table:
    """Add the published figure and the difference to it, where a cell's runs are comparable with it."""
    published = {name: published_accuracy(runs) for name, runs in finished.items()}
    if not any(figure is not None for figure in published.values()):
        return made
    figures = {name: Entry(MISSING if figure is None else f"{figure:.2f}") for name, figure in published.items()}
    deltas = {}
    for name, figure in published.items():
        values = {run.run_id: run.metrics[MEAN_CLASS] for run in finished[name] if MEAN_CLASS in run.metrics}
        complete = figure is not None and len(values) == len(finished[name]) > 0
        mean = 100 * sum(values.values()) / len(values) if complete else 0.0
        deltas[name] = Entry(f"{mean - (figure or 0):+.1f}", "", MEAN_CLASS, values) if complete else Entry(MISSING)
    made = _with_column(made, len(made.columns), "paper %", figures)
    made = _with_column(made, len(made.columns), "Δ to paper", deltas)
    return dataclasses.replace(made, caption=f"{made.caption} Paper: CSG (ICLR 2021), table 1, mean class accuracy.")


def _with_column(made: Table, at: int, heading: str, entries: Mapping[str, Entry]) -> Table:
    """Insert a column, whose place counts the labels' one as 0."""
    rows = tuple(
        dataclasses.replace(row, entries=(*row.entries[: at - 1], entries[row.label], *row.entries[at - 1 :]))
        for row in made.rows
    )
    return dataclasses.replace(made, columns=(*made.columns[:at], heading, *made.columns[at:]), rows=rows)
