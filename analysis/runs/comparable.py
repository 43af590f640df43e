"""Which runs may be compared with each other, and what a caption says of those that are left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from analysis.runs.metrics import describe_protocol, get_task, get_task_name, has_metrics
from csg.messages.errors import UserError
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag

DIMENSIONS: Final[dict[str, Callable[[TrackedRun], str]]] = {
    "task": get_task_name,
    "commit": lambda run: run.tags.get("commit", ""),
    "program": lambda run: run.tags.get("source_digest", ""),
    "data": lambda run: run.tags.get("data.fingerprint", ""),
    "protocol": describe_protocol,
}
"""What runs of one table must agree in. Data may differ between cells if the design says so."""


class NoDataError(UserError):
    """A figure has nothing to show; the message says what is missing."""


class MixedRunsError(UserError):
    """Runs that must not be averaged or compared."""


@dataclass(frozen=True)
class Comparable:
    """Runs of one version of the program, on one data fingerprint."""

    runs: tuple[TrackedRun, ...]
    left_out: int
    """The number of other runs."""

    @property
    def note(self) -> str:
        """Sentences for the caption, each after a blank: on the other runs, and on what these runs differ in."""
        note = (
            f" {pluralize(self.left_out, 'run')} of other commits, programs or data left out." if self.left_out else ""
        )
        mixed = [name for name, get_value in DIMENSIONS.items() if len(set(map(get_value, self.runs))) > 1]
        return note + (f" Mixes runs of more than one {' and '.join(mixed)}." if mixed else "")

    @property
    def remedy(self) -> str:
        """What to do where too few runs are left: the note, and the flags that include other runs."""
        return f"{self.note} Choose a version with --commit PREFIX, or allow --mix." if self.left_out else ""


def keep_distinct(runs: Iterable[TrackedRun]) -> list[TrackedRun]:
    """Return the finished runs that have a real score. A computation that several searches share is returned once.

    Of its records that is the last: what is compared is of the newest commit.
    """
    found: dict[str, TrackedRun] = {}
    for run in runs:
        if run.status == "finished" and has_metrics(run, get_task([run]).real_score):
            name = run.tags.get(Tag.RUN, run.run_id)
            found.pop(name, None)
            found[name] = run
    return list(found.values())


def keep_comparable(runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> Comparable:
    """Keep the runs of the newest run's commit and program, and of these the ones on the most frequent data.

    The data of the newest run would be the wrong choice: three models of an ablation with its own data would hide a
    whole search.

    Args:
        runs: the newest last.
        mix: dimensions (see ``DIMENSIONS``) in which runs may differ.
    """
    kept = _keep_newest_version(runs, mix=(*mix, "data"))
    if "data" not in mix and kept:
        get_data = DIMENSIONS["data"]
        counts = Counter(map(get_data, kept))
        chosen = max(reversed(kept), key=lambda run: counts[get_data(run)])
        kept = [run for run in kept if get_data(run) == get_data(chosen)]
    return Comparable(tuple(kept), len(runs) - len(kept))


def keep_comparable_with(reference: TrackedRun, runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> Comparable:
    """Keep the distinct runs that agree with ``reference`` in commit, program and data, except for those in ``mix``.

    Of a computation that is on record several times, a record that agrees counts.
    """
    distinct = keep_distinct([*runs, *_keep_newest_version([*runs, reference], mix=mix)[:-1]])
    kept = _keep_newest_version([*distinct, reference], mix=mix)[:-1]
    return Comparable(tuple(kept), len(distinct) - len(kept))


def _keep_newest_version(runs: Sequence[TrackedRun], *, mix: Collection[str]) -> list[TrackedRun]:
    """Keep the runs that agree with the last one in commit, program and data, except for the dimensions in ``mix``."""
    judged = [get_value for name, get_value in DIMENSIONS.items() if name not in (*mix, "protocol")]
    return [run for run in runs if all(get_value(run) == get_value(runs[-1]) for get_value in judged)]


def check_unmixed(cells: Mapping[str, Sequence[TrackedRun]], *, mix: Collection[str] = ()) -> list[str]:
    """Check that runs agree in task, commit, program, data and protocol.

    Args:
        cells: finished runs by cell.
        mix: dimensions in which they may differ.

    Returns:
        A sentence for the caption about each difference that ``mix`` allows.

    Raises:
        MixedRunsError: they differ in something else. The message has the values, how many runs have each, and the
            remedy.
    """
    notes = []
    for dimension, get_value in DIMENSIONS.items():
        groups = cells.values() if dimension == "data" else [[run for runs in cells.values() for run in runs]]
        for runs in groups:
            counts = Counter(map(get_value, runs))
            if len(counts) < 2:
                continue
            found = ", ".join(f"{count} of {value or 'none'}" for value, count in sorted(counts.items()))
            if dimension == "task":
                raise MixedRunsError(f"runs of more than one task would be mixed ({found}), whose figures differ")
            if dimension not in mix:
                raise MixedRunsError(
                    f"runs of more than one {dimension} would be mixed ({found}); leave some out (--commit PREFIX), or "
                    f"allow the mixture: --mix {dimension}"
                )
            notes.append(f"Mixes runs of more than one {dimension}: {found}.")
    return list(dict.fromkeys(notes))


def collect_by_seed(runs: Sequence[TrackedRun], metric: str) -> dict[int, float]:
    """Return a metric by seed. The value is NaN for a run that lacks the metric or has no finite value of it.

    Raises:
        MixedRunsError: two runs have the same seed.
    """
    found: dict[int, float] = {}
    for run in runs:
        seed = int(run.params["train.seed"])
        if seed in found:
            raise MixedRunsError(
                f"two runs of one cell have the seed {seed} ({run.name}); choose one commit with --commit PREFIX"
            )
        found[seed] = run.metrics[metric] if has_metrics(run, metric) else math.nan
    return found


def is_complete(values: Mapping[int, float]) -> bool:
    """Return whether there are values and all of them are finite."""
    return bool(values) and all(map(math.isfinite, values.values()))
