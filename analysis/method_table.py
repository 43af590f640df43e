"""The table of methods: real and source accuracy, diversity and cost, over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from analysis.table import Table
from csg.tracking import TrackedRun
from csg.training.evaluation import PROTOCOL_STREAMS

MISSING = "-"
SECONDS = "train/seconds"
COLUMNS: dict[str, tuple[str, float, int]] = {
    "real accuracy %": ("target/test/accuracy", 100, 1),
    "mean class %": ("target/test/mean_class_accuracy", 100, 1),
    "source accuracy %": ("source/val/accuracy", 100, 1),
    "E_0 (mhe)": ("target/test/E0_mhe", 1, 3),
    "s/epoch": (SECONDS, 1, 1),
}
"""Heading: metric, factor, decimals."""


def method_table(runs: Iterable[TrackedRun], *, cells: Sequence[str], title: str) -> Table:
    """Tabulate an ablation's finished runs, a row for each of ``cells``.

    Each figure is the mean over seeds and the *sample* standard deviation; with one seed, the figure alone.
    """
    finished = [run for run in runs if run.status == "finished"]
    rows = []
    for cell in cells:
        mine = [run for run in finished if run.tags.get("csg.cell") == cell]
        figures = (
            spread([factor * figure(run, metric) for run in mine], decimals)
            for metric, factor, decimals in COLUMNS.values()
        )
        rows.append((cell, str(len(mine)), *figures))
    protocols = sorted({str(run.params.get("selection.protocol")) for run in finished})
    images = sorted({int(run.metrics["target/test/images"]) for run in finished if "target/test/images" in run.metrics})
    caption = (
        f"Mean ± sample standard deviation over n seeds. Real accuracy and E_0 on the {_listed(images)} images of "
        f"target/test, measured once a run, on its selected weights; source accuracy on source/val. "
        f"Selection protocol: {_listed(protocols)} ({sum(map(target_queries, finished))} target queries)."
    )
    return Table(title, ("method", "n", *COLUMNS), tuple(rows), caption)


def figure(run: TrackedRun, metric: str) -> float:
    """Return a run's figure: the mean over epochs where the history was read, else the newest value; NaN if missing."""
    history = run.history.get(metric)
    return statistics.fmean(history.values()) if history else run.metrics.get(metric, math.nan)


def target_queries(run: TrackedRun) -> int:
    """Count how often a run asked the target which epoch to keep."""
    asked = run.params.get("selection.epoch") == "best" and PROTOCOL_STREAMS[
        str(run.params.get("selection.protocol"))
    ].startswith("target/")
    return int(run.params["train.epochs"]) if asked else 0


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


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) if values else "no"
