"""The panels of a density figure, from the runs of an ablation."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from analysis.figures.feature_density import Panel, feature_density
from analysis.figures.figure_style import RunFigure
from analysis.runs.cells import MixedRunsError, by_seed, check_unmixed
from analysis.runs.comparable import NoDataError
from analysis.runs.run_table import AblationRuns, RunTable
from csg.messages.errors import UserError
from csg.tracking import TrackedRun

E0_METRIC = "target/test/E0_mhe"
"""The energy whose convention is that of the paper's printed figures."""


def finished_cells(ablation: AblationRuns) -> dict[str, list[TrackedRun]]:
    """Return each cell's finished runs; cells without any are left out."""
    cells = {name: [run for run in ablation.cell(name) if run.status == "finished"] for name in ablation.comparisons}
    return {name: runs for name, runs in cells.items() if runs}


def density_of(table: RunTable, ablation: AblationRuns, *, mix: Collection[str] = ()) -> RunFigure:
    """Draw each cell's features, all under one seed: the first of those that most cells have features of.

    Raises:
        NoDataError: no finished run stored features.
        UserError: runs that must not be mixed, or that were not measured on the same images.
    """
    cells = finished_cells(ablation)
    said = check_unmixed(cells, allowed=mix)
    for runs in cells.values():
        by_seed(runs, E0_METRIC)  # refuses two runs of one seed
    found: dict[int, list[tuple[TrackedRun, Panel]]] = {}
    for name, runs in cells.items():
        for run in runs:
            panel = _panel(table, run, name)
            if panel is not None:
                found.setdefault(int(run.params["train.seed"]), []).append((run, panel))
    if not found:
        raise NoDataError(_why(cells) + table.looked_in([run for runs in cells.values() for run in runs]))
    seed = max(sorted(found), key=lambda each: len(found[each]))
    panels = [panel for _, panel in found[seed]]
    _check_same_images(panels)
    missing = [name for name in ablation.comparisons if name not in {panel.name for panel in panels}]
    note = " ".join([f"{ablation.title}, seed {seed}.", *said])
    if missing:
        note += f" Not shown, without stored features of this seed: {', '.join(missing)}."
    try:
        figure = feature_density(panels, note=note)
    except ValueError as error:
        raise UserError(f"{ablation.key}: {error}") from None
    figure.runs = [run for run, _ in found[seed]]
    return figure


def _panel(table: RunTable, run: TrackedRun, name: str) -> Panel | None:
    outputs = table.outputs(run)
    if outputs is None or not len(outputs.features):
        return None
    e0, e1, e2 = (run.metrics.get(metric, math.nan) for metric in (E0_METRIC, "target/test/E1", "target/test/E2"))
    labels = outputs.feature_labels
    if labels is None:  # an image of many labels has no class
        labels = np.zeros(len(outputs.features), dtype=np.int64)
    return Panel(name, outputs.features, labels, e0, e1, e2)


def _why(cells: dict[str, list[TrackedRun]]) -> str:
    if not cells:
        return "no run has finished"
    return "no finished run stored features (an exported folder has them with export_runs.py --features)"


def _check_same_images(panels: list[Panel]) -> None:
    differing = [panel.name for panel in panels if not np.array_equal(panel.labels, panels[0].labels)]
    if differing:
        raise MixedRunsError(
            f"expected features of the same test images in all cells, found others in {', '.join(differing)} than in "
            f"{panels[0].name}: images that could not be read were left out there, or the data differ"
        )
