"""The panels of a density figure, from the runs of an ablation."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from analysis.figures.feature_density import Panel, draw_feature_density
from analysis.figures.style import RunFigure
from analysis.runs.comparable import MixedRunsError, NoDataError, check_unmixed, collect_by_seed
from analysis.runs.metrics import E0_METRIC
from analysis.runs.run_table import AblationRuns, RunTable
from csg.messages.errors import UserError
from csg.tracking import TrackedRun
from csg.tracking.classes import read_classes


def draw_features(table: RunTable, ablation: AblationRuns, *, mix: Collection[str] = ()) -> RunFigure:
    """Draw the features of each cell under one seed: of the seeds with features in the most cells, the first.

    Raises:
        NoDataError: no finished run stored features.
        UserError: runs that must not be mixed, or that were not measured on the same images.
    """
    cells = ablation.finished_cells
    mixed = check_unmixed(cells, mix=mix)
    for runs in cells.values():
        collect_by_seed(runs, E0_METRIC)  # raises if two runs have the same seed
    by_seed: dict[int, list[tuple[TrackedRun, str]]] = {}
    for name, runs in cells.items():
        for run in runs:
            by_seed.setdefault(int(run.params["train.seed"]), []).append((run, name))
    seed, found = 0, list[tuple[TrackedRun, Panel]]()
    for number, members in sorted(by_seed.items()):
        if len(members) > len(found):  # features of all seeds would take long to read
            read = [(run, panel) for run, name in members if (panel := _read_panel(table, run, name)) is not None]
            seed, found = (number, read) if len(read) > len(found) else (seed, found)
    if not found:
        raise NoDataError(_explain(ablation) + table.describe_places(ablation.finished))
    panels = [panel for _, panel in found]
    _check_same_images(panels)
    missing = [name for name in ablation.comparisons if name not in {panel.name for panel in panels}]
    note = " ".join([f"{ablation.title}, seed {seed}.", *mixed])
    if missing:
        note += f" Not shown, without stored features of this seed: {', '.join(missing)}."
    try:
        class_names = read_classes(found[0][0].tags)
        figure = draw_feature_density(panels, note=note, class_names=class_names)
    except ValueError as error:
        raise UserError(f"{ablation.key}: {error}") from None
    figure.runs = [run for run, _ in found]
    return figure


def _read_panel(table: RunTable, run: TrackedRun, name: str) -> Panel | None:
    outputs = table.read_outputs(run)
    if outputs is None or not len(outputs.features):
        return None
    e0, e1, e2 = (run.metrics.get(metric, math.nan) for metric in (E0_METRIC, "target/test/E1", "target/test/E2"))
    labels = outputs.feature_labels
    if labels is None:  # with a label for each pixel, an image has no class
        labels = np.zeros(len(outputs.features), dtype=np.int64)
    return Panel(name, outputs.features, labels, e0, e1, e2)


def _explain(ablation: AblationRuns) -> str:
    if not ablation.finished:
        return "no run has finished"
    return "no finished run stored features (an exported folder has them with export_runs.py --features)"


def _check_same_images(panels: list[Panel]) -> None:
    differing = [panel.name for panel in panels if not np.array_equal(panel.labels, panels[0].labels)]
    if differing:
        raise MixedRunsError(
            f"expected features of the same test images in all cells, found others in {', '.join(differing)} than in "
            f"{panels[0].name}: images that could not be read were left out there, or the data differ"
        )
