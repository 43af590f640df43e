"""The metrics that a run is judged by: those of its task, and the one that its selection protocol looks at."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from csg.config.pairs import get_pair_task
from csg.data.pair import TARGET_TEST
from csg.metrics.validators import VALIDATORS
from csg.tasks import TASKS
from csg.tasks.task import Task
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.score_words import Unit, format_wilson
from csg.training.selection import ASKS, PROTOCOL_STREAMS, PROTOCOLS

E0_METRIC: Final = "target/test/E0_mhe"
"""The energy E_0 in the convention of the paper's printed figures."""
LAST_EPOCH: Final = "none (last epoch)"
"""What :func:`describe_protocol` calls the protocol of runs whose epoch none selected."""


def get_task_name(run: TrackedRun) -> str:
    """Return the name of a run's task; empty for the parent of a search or an ablation, which has no data."""
    return get_pair_task(run.params["data.name"]) if "data.name" in run.params else ""


def get_task(runs: Iterable[TrackedRun]) -> Task:
    """Return the task that runs share; classification if there are no runs."""
    return TASKS[next(filter(None, map(get_task_name, runs)), "classification")]


def get_configuration(run: TrackedRun) -> str:
    """Return what a run shares with those of the same settings under other seeds."""
    return run.tags.get(Tag.CONFIG_ID, run.run_id)


def has_metrics(run: TrackedRun, *names: str) -> bool:
    """Return whether a run has a finite value of each metric."""
    return all(math.isfinite(run.metrics.get(name, math.nan)) for name in names)


def has_stream(runs: Iterable[TrackedRun], *streams: str) -> bool:
    """Return whether the data of runs have one of these streams, by what the runs say of their data or measured."""
    measured = tuple(f"{before}{stream}/" for stream in streams for before in ("", "selected/"))
    said = {f"{Tag.DATA}.{stream}" for stream in streams}
    return any(said & run.tags.keys() or any(name.startswith(measured) for name in run.metrics) for run in runs)


@dataclass(frozen=True)
class Selector:
    """A way to choose among finished runs: a protocol, and under ``unlabelled`` one validator."""

    protocol: str
    metric: str
    """Of a finished run, on its selected weights; the largest is chosen."""

    @property
    def stream(self) -> str:
        """What it looks at."""
        return PROTOCOL_STREAMS[self.protocol]

    @property
    def unit(self) -> Unit:
        """How its score is written."""
        return Unit.of(self.metric)


def make_selectors(task: Task) -> dict[str, Selector]:
    """Return every selector by its name for people, the protocols in their order."""
    selectors: dict[str, Selector] = {}
    for protocol in PROTOCOLS:
        selected = f"selected/{PROTOCOL_STREAMS[protocol]}"
        if protocol == "unlabelled":
            selectors |= {f"{protocol}, {name}": Selector(protocol, f"{selected}/{name}") for name in VALIDATORS}
        else:
            selectors[protocol] = Selector(protocol, f"{selected}/{task.score}")
    return selectors


def find_measured_selectors(task: Task, runs: Collection[TrackedRun]) -> dict[str, Selector]:
    """Return the selectors of :func:`make_selectors`, but for what no run has: a validator, a held-out source."""
    return {
        name: each
        for name, each in make_selectors(task).items()
        if each.protocol not in ("unlabelled", "held_out_source") or any(has_metrics(run, each.metric) for run in runs)
    }


def format_real_interval(run: TrackedRun, share: float) -> str:
    """Write the 95 % Wilson interval of a share of the images of target/test that a finished run was measured on.

    A blank is ahead of it. A mean over trainings without each source is no share of images, and has none.
    """
    return "" if is_mean(run) else f" {format_wilson(share, int(run.metrics[f'{TARGET_TEST}/images']))}"


def is_mean(run: TrackedRun) -> bool:
    """Return whether a trial's figures are means over trainings without each source (protocol held_out_source)."""
    return Tag.WITHOUT in run.tags


def find_protocol(score: str) -> str:
    """Return the selection protocol that looks at the score's stream; empty if none does."""
    stream, _, name = score.rpartition("/")
    if name in VALIDATORS:
        return "unlabelled"
    by_labels = (protocol for protocol in PROTOCOL_STREAMS if protocol != "unlabelled")
    return next((protocol for protocol in by_labels if PROTOCOL_STREAMS[protocol] == stream), "")


def describe_protocol(run: TrackedRun) -> str:
    """Return the protocol that selected a run's epoch; without ``selection.epoch=best`` none did."""
    if run.params.get("selection.epoch") == "best":
        protocol = str(run.params.get("selection.protocol"))
        return f"{protocol}, {run.params.get('selection.validator')}" if protocol == "unlabelled" else protocol
    return LAST_EPOCH


def count_target_queries(run: TrackedRun) -> int:
    """Count how often a run looked at the target to select its epoch."""
    looked = run.params.get("selection.epoch") == "best" and ASKS[str(run.params["selection.protocol"])] != "nothing"
    return int(run.params["train.epochs"]) if looked else 0
