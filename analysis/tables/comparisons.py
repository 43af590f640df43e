"""The tables over an ablation's cells: main comparison, figures by class, diversity, and the ablation's own."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np

from analysis.inference.bootstrap import accuracy_bootstrap, mean_iou_bootstrap
from analysis.inference.t_tests import Interval
from analysis.runs.metrics import E0_METRIC, get_task
from analysis.runs.run_table import AblationRuns, Outputs, RunTable
from analysis.tables.cell_table import Column, make_cell_table
from analysis.tables.evaluated_sets import describe_sets, find_set_metrics
from analysis.tables.published import find_published_score
from analysis.tables.table import MISSING, Entry, Table
from csg.config.names import make_metric_name
from csg.data.held_out import HELD_OUT
from csg.data.pair import SOURCE_VAL, TARGET_TEST
from csg.messages.text import make_one_line
from csg.tracking import TrackedRun
from csg.tracking.classes import read_classes

E0_COLUMN: Final = Column("E_0 (mhe)", E0_METRIC, better="lower")
SECONDS: Final = Column("s/epoch", "seconds_per_epoch", decimals=1)


def make_ablation_table(ablation: AblationRuns, *, mix: Collection[str] = ()) -> Table:
    """Tabulate what each cell does to the figure on real images, tested against the cell that it is compared with.

    Where the data have no labelled real images, the figure on source/val is tested instead.
    """
    task = get_task(ablation.runs)
    source = f"source {task.headline_words}"
    on_source = Column(f"{source} %", f"selected/{SOURCE_VAL}/{task.headline}", 100, 1)
    if ablation.finished and not is_measured(ablation):
        on_source = dataclasses.replace(on_source, better="higher", tested=True)
    held_out = Column(
        f"held-out source {task.headline_words} %", f"selected/{HELD_OUT}/{task.headline}", 100, 1, "higher"
    )
    on_held_out = (held_out,) if any(held_out.metric in run.metrics for run in ablation.runs) else ()
    sets = find_set_metrics(ablation.runs, mix=mix)
    columns = (
        Column(f"real {task.headline_words} %", task.real_headline, 100, 1, "higher", tested=True),
        *(() if task.one_label else (Column(f"real {task.overall_words} %", task.real_overall, 100, 1),)),
        *(Column(f"{name} %", metric, 100, 1, "higher") for name, metric in sets.items()),
        on_source,
        *on_held_out,
        dataclasses.replace(E0_COLUMN, better=""),
        SECONDS,
    )
    note = f"{source[0].upper() + source[1:]} on source/val, of the same weights. {describe_sets(sets)}".rstrip()
    if on_held_out:
        note += " Held-out source: on a source that was not trained on; of trainings on all, the mean without each."
    name = f"ablation_{ablation.design}"
    return make_cell_table(ablation, columns, name=name, title=ablation.title, mix=mix, note=note)


def is_measured(ablation: AblationRuns) -> bool:
    """Whether any finished run was measured on target/test, which needs labelled real images."""
    return any(get_task(ablation.runs).real_score in run.metrics for run in ablation.finished)


def make_main_comparison(table: RunTable, ablation: AblationRuns, *, mix: Collection[str] = ()) -> Table:
    """Compare methods by the task's score (mean class accuracy, VisDA-17's metric, or mean IoU) and diversity.

    Beside the spread over seeds stands an interval over test images, which says how much other images of the same kind
    could change. Runs with the paper's protocol, data and model also get the published figure and the difference to it.
    """
    task = get_task(ablation.runs)
    sets = find_set_metrics(ablation.runs, mix=mix)
    columns = (
        Column("mean class %" if task.one_label else f"{task.score_words} %", task.real_score, 100, 1, "higher"),
        Column(f"{task.overall_words} %", task.real_overall, 100, 1),
        E0_COLUMN,
        Column("E_1", "target/test/E1", better="lower"),
        Column("E_2", "target/test/E2", better="lower"),
        *(Column(f"{name} {task.headline_words} %", metric, 100, 1, "higher") for name, metric in sets.items()),
    )
    note = (
        f"Over images: 95 % bootstrap interval of the {task.score_words} averaged over the seeds, test images drawn "
        f"anew. E_0 in the convention mhe, log(1/d²); E_s: lower is more diverse. {describe_sets(sets)}"
    ).rstrip()
    title = f"{ablation.title}: {task.score_words} and diversity"
    made = make_cell_table(ablation, columns, name="main_comparison", title=title, mix=mix, note=note)
    made.cells.insert(2, "over images %", [_bootstrap_images(table, runs) for runs in ablation.finished_cells.values()])
    return _add_published(made, ablation.finished_cells)


def make_class_table(ablation: AblationRuns, *, mix: Collection[str] = ()) -> Table:
    """Tabulate the accuracy, or the IoU, of each class."""
    task = get_task(ablation.runs)
    prefix = f"{TARGET_TEST}/{task.by_class}/"
    classes = {name for run in ablation.runs for name in read_classes(run.tags)} or {
        name.removeprefix(prefix) for run in ablation.runs for name in run.metrics if name.startswith(prefix)
    }
    columns = [
        Column(make_one_line(name), make_metric_name(f"{prefix}{name}"), 100, 1, "higher") for name in sorted(classes)
    ]
    title = f"{ablation.title}: {task.class_words} by class, %"
    return make_cell_table(ablation, columns, name="per_class", title=title, mix=mix)


def make_diversity_table(ablation: AblationRuns, *, mix: Collection[str] = ()) -> Table:
    """Tabulate the hyperspherical energies of the features of real images, in both conventions."""
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
    return make_cell_table(ablation, columns, name="diversity", title=title, mix=mix, note=note)


def _bootstrap_images(table: RunTable, runs: Sequence[TrackedRun]) -> Entry:
    """Return the interval over test images of the score averaged over a cell's runs."""
    outputs = [found for found in map(table.read_outputs, runs) if found is not None]
    interval = _compute_interval(outputs) if outputs and len(outputs) == len(runs) else None
    if interval is None:
        return Entry(MISSING)
    metric = get_task(runs).real_score
    values = {run.run_id: run.metrics[metric] for run in runs}
    return Entry(f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]", "", metric, values)


def _compute_interval(outputs: Sequence[Outputs]) -> Interval | None:
    """Return the interval, or None if the runs saw different images because some could not be read."""
    confusions = [each.confusions for each in outputs if each.confusions is not None]
    if len(confusions) == len(outputs):
        truth = confusions[0].sum(axis=2)
        same = all(np.array_equal(each.sum(axis=2), truth) for each in confusions)
        return mean_iou_bootstrap(np.stack(confusions)).interval if same else None
    labels = outputs[0].labels
    if labels is None or any(each.labels is None or not np.array_equal(each.labels, labels) for each in outputs):
        return None
    correct = np.stack([each.predicted == each.labels for each in outputs])
    return accuracy_bootstrap(correct, labels, mean_class=True).interval


def _add_published(made: Table, cells: Mapping[str, Sequence[TrackedRun]]) -> Table:
    """Add the published figure and the difference to it, if a cell's runs are comparable with one."""
    published = {name: find_published_score(runs) for name, runs in cells.items()}
    if not any(figure is not None for figure in published.values()):
        return made
    task = get_task(run for runs in cells.values() for run in runs)
    figures = [Entry(MISSING if figure is None else f"{figure:.2f}") for figure in published.values()]
    differences = [_subtract_published(figure, cells[name]) for name, figure in published.items()]
    for heading, entries in (("paper %", figures), ("Δ to paper", differences)):
        made.cells.insert(made.cells.shape[1], heading, entries)
    paper = f"Paper: CSG (ICLR 2021), table {1 if task.one_label else 5}, {task.score_words}."
    return dataclasses.replace(made, caption=f"{made.caption} {paper}")


def _subtract_published(figure: float | None, runs: Sequence[TrackedRun]) -> Entry:
    metric = get_task(runs).real_score
    values = {run.run_id: run.metrics[metric] for run in runs if metric in run.metrics}
    if figure is None or len(values) < len(runs):
        return Entry(MISSING)
    return Entry(f"{100 * statistics.fmean(values.values()) - figure:+.1f}", "", metric, values)
