"""The cells of an ablation: a figure by seed, and the rule that what is compared must be comparable."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from analysis.runs.task_figures import task_name
from csg.messages.errors import UserError
from csg.tracking import TrackedRun
from csg.tracking.tags import COMMIT_TAG, DATA_TAG, PROGRAM_TAG
from csg.training.evaluation import PROTOCOL_STREAMS

Cells = Mapping[str, Sequence[TrackedRun]]
"""Finished runs by the name of their cell."""


def protocol_that_selected(run: TrackedRun) -> str:
    """Name a run's selection protocol, as far as it had a say: without ``selection.epoch=best`` it selected nothing."""
    if run.params.get("selection.epoch") == "best":
        return str(run.params.get("selection.protocol"))
    return "none (last epoch)"


DIMENSIONS: Final[dict[str, Callable[[TrackedRun], str]]] = {
    "task": task_name,
    "commit": lambda run: run.tags.get(COMMIT_TAG, ""),
    "program": lambda run: run.tags.get(PROGRAM_TAG, ""),
    "data": lambda run: run.tags.get(DATA_TAG, ""),
    "protocol": protocol_that_selected,
}
"""What runs must agree in to stand in one table; data may differ from cell to cell, where a design says so."""


class MixedRunsError(UserError):
    """Runs that must not be summed up together."""


def check_unmixed(cells: Cells, *, allowed: Collection[str] = ()) -> list[str]:
    """See that runs agree in task, commit, program, data and protocol.

    Args:
        cells: finished runs.
        allowed: dimensions in which they may differ.

    Returns:
        A sentence for the caption about each difference that was allowed.

    Raises:
        MixedRunsError: they differ in something else; with the values, how many runs have each, and what to do.
    """
    said = []
    for dimension, value_of in DIMENSIONS.items():
        groups = cells.values() if dimension == "data" else [[run for runs in cells.values() for run in runs]]
        for runs in groups:
            counts = Counter(value_of(run) for run in runs)
            if len(counts) < 2:
                continue
            found = ", ".join(f"{count} of {value or 'none'}" for value, count in sorted(counts.items()))
            if dimension == "task":
                raise MixedRunsError(f"runs of more than one task would be mixed ({found}), whose figures differ")
            if dimension not in allowed:
                raise MixedRunsError(
                    f"runs of more than one {dimension} would be mixed ({found}); leave some out (--commit PREFIX), or "
                    f"say that they may be: --mix {dimension}"
                )
            said.append(f"Mixes runs of more than one {dimension}: {found}.")
    return list(dict.fromkeys(said))


def by_seed(runs: Sequence[TrackedRun], metric: str) -> dict[int, float]:
    """Return a metric by seed. A run without it, or whose value is not finite, is a NaN: it is not averaged away.

    Raises:
        MixedRunsError: two runs have one seed.
    """
    found: dict[int, float] = {}
    for run in runs:
        seed = int(run.params["train.seed"])
        if seed in found:
            raise MixedRunsError(
                f"two runs of one cell have the seed {seed} ({run.name}); choose one commit with --commit PREFIX"
            )
        value = run.metrics.get(metric, math.nan)
        found[seed] = value if math.isfinite(value) else math.nan
    return found


def whole(values: Mapping[int, float]) -> bool:
    """Whether there are values, and none of them is missing."""
    return bool(values) and all(map(math.isfinite, values.values()))


def target_queries(run: TrackedRun) -> int:
    """Count how often a run asked the target which epoch to keep."""
    asked = run.params.get("selection.epoch") == "best" and PROTOCOL_STREAMS[
        str(run.params.get("selection.protocol"))
    ].startswith("target/")
    return int(run.params["train.epochs"]) if asked else 0
