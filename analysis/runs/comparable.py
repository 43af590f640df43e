"""Which runs a figure may show together, and what it says of those that it leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from analysis.runs.cells import DIMENSIONS
from csg.messages.errors import UserError
from csg.messages.wording import pluralize
from csg.tracking import TrackedRun


class NoDataError(UserError):
    """A figure has nothing to show; the message says what is missing."""


@dataclass(frozen=True)
class Comparable:
    """Runs of one version of the program, on one data fingerprint."""

    runs: tuple[TrackedRun, ...]
    left_out: int
    """How many others there are."""

    @property
    def note(self) -> str:
        """Sentences for the caption, each after a blank: on the others, and in what these differ; often empty."""
        said = (
            f" {pluralize(self.left_out, 'run')} of other commits, programs or data left out." if self.left_out else ""
        )
        mixed = [name for name, value_of in DIMENSIONS.items() if len(set(map(value_of, self.runs))) > 1]
        return said + (f" Mixes runs of more than one {' and '.join(mixed)}." if mixed else "")

    @property
    def remedy(self) -> str:
        """What to do where too few are left: the note, and the flags that others come in by."""
        return f"{self.note} Choose a version with --commit PREFIX, or allow --mix." if self.left_out else ""


def of_newest_version(runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> list[TrackedRun]:
    """Keep the runs that agree with the newest one in commit, program and data, but for what may be mixed."""
    judged = [value_of for name, value_of in DIMENSIONS.items() if name not in (*mix, "protocol")]
    return [run for run in runs if all(value_of(run) == value_of(runs[-1]) for value_of in judged)]


def comparable(runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> Comparable:
    """Keep the runs of the newest run's commit and program, and of these the ones on the data that most of them have.

    The newest run's data would not do: three models of an ablation with data of its own must not hide a whole search.

    Args:
        runs: the newest last.
        mix: dimensions (see ``analysis.runs.cells``) in which runs may differ.
    """
    same = of_newest_version(runs, mix=(*mix, "data"))
    if "data" not in mix and same:
        data_of = DIMENSIONS["data"]
        counts = Counter(map(data_of, same))
        chosen = max(reversed(same), key=lambda run: counts[data_of(run)])
        same = [run for run in same if data_of(run) == data_of(chosen)]
    return Comparable(tuple(same), len(runs) - len(same))


def comparable_with(reference: TrackedRun, runs: Sequence[TrackedRun], *, mix: Collection[str] = ()) -> Comparable:
    """Keep the runs that agree with ``reference`` in commit, program and data, but for what may be mixed."""
    kept = of_newest_version([*runs, reference], mix=mix)[:-1]
    return Comparable(tuple(kept), len(runs) - len(kept))
