"""Columns of other labelled sets that finished runs were measured on with ``csg evaluate --checkpoint``."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from analysis.runs.comparable import MixedRunsError
from analysis.runs.metrics import get_task
from csg.config.names import make_metric_name, make_set_prefix
from csg.tracking import TrackedRun, read_evaluated_sets


def find_set_metrics(runs: Iterable[TrackedRun], *, mix: Collection[str] = ()) -> dict[str, str]:
    """Return the metric of the task's headline on each set that any of the runs was measured on, by the set's name.

    Raises:
        MixedRunsError: runs were measured on different images under one name, and ``mix`` does not have "data".
    """
    finished = [run for run in runs if run.status == "finished"]
    versions: dict[str, set[str]] = {}
    for run in finished:
        for name, fingerprint in read_evaluated_sets(run.tags).items():
            versions.setdefault(name, set()).add(fingerprint)
    for name, found in versions.items():
        if len(found) > 1 and "data" not in mix:
            raise MixedRunsError(
                f"runs were measured on {len(found)} versions of the set {name!r} ({', '.join(sorted(found))}); "
                "measure them all anew (csg evaluate --checkpoint), or allow the mixture: --mix data"
            )
    headline = get_task(finished).headline
    return {name: make_metric_name(f"{make_set_prefix(name)}/{headline}") for name in sorted(versions)}


def describe_sets(names: Collection[str]) -> str:
    """Return a sentence for a caption on the columns of other sets; empty where there are none."""
    if not names:
        return ""
    kind = "another labelled set" if len(names) == 1 else "other labelled sets"
    return f"{', '.join(names)}: {kind}, measured after the runs had finished, which nothing was selected by."
