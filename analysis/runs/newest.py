"""Which of several ablations is shown: the newest that has a finished run, and what is said of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from analysis.runs.run_table import AblationRuns, SearchRuns
from csg.messages.wording import pluralize
from csg.tracking.tags import CELL_TAG

FamilyT = TypeVar("FamilyT", AblationRuns, SearchRuns)


@dataclass(frozen=True)
class Newest:
    """The ablation that stands for all that it was chosen from."""

    ablation: AblationRuns
    note: str
    """Sentences for a caption: on newer ones that have no finished run, and on an older one that has more; or empty."""


def newest(ablations: Sequence[AblationRuns]) -> Newest:
    """Choose the newest ablation that has a finished run: what has none replaces nothing.

    Where none has any, it is the newest.

    Args:
        ablations: at least one, the oldest first.
    """
    place = max((index for index, each in enumerate(ablations) if each.finished), default=len(ablations) - 1)
    chosen = ablations[place]
    said = [note_of_empty(ablations[place + 1 :])]
    older = [each for each in ablations[:place] if each.design == chosen.design]
    fullest = max(reversed(older), key=lambda each: len(each.finished), default=chosen)
    if not chosen.complete and len(fullest.finished) > len(chosen.finished):
        said.append(f"Not complete: {chosen.key} has {_extent(chosen)}, the older {fullest.key} {_extent(fullest)}.")
    return Newest(chosen, " ".join(filter(None, said)))


def note_of_empty(newer: Sequence[AblationRuns]) -> str:
    """Say of newer ablations which have no finished run; empty where all have one."""
    empty = [each.key for each in newer if not each.finished]
    if not empty:
        return ""
    return f"Newer, but without a finished run, and not shown here: {', '.join(empty)}."


def unambiguous(ablation: AblationRuns, among: Sequence[AblationRuns]) -> str:
    """Name an ablation by its design, or by its key where the design was run in several versions.

    Versions without a finished run do not count, so that a newer one takes no name away.
    """
    same = [other for other in among if other.design == ablation.design]
    versions = [other for other in same if other.finished] or same
    alone = [other.parent.run_id for other in versions] == [ablation.parent.run_id]
    return ablation.design if alone else distinct_key(ablation, among)


def distinct_key(family: FamilyT, among: Sequence[FamilyT]) -> str:
    """Return a key that none of the others gets.

    Of those that have one key, in several output folders, all but the oldest end in their number.

    Args:
        family: an ablation or a search.
        among: all of them, the oldest first.
    """
    twins = [other.parent.run_id for other in among if other.key == family.key]
    place = twins.index(family.parent.run_id) + 1
    return family.key if place == 1 else f"{family.key}-{place}"


def _extent(ablation: AblationRuns) -> str:
    cells = {run.tags.get(CELL_TAG) for run in ablation.finished}
    all_cells = pluralize(len(ablation.comparisons), "cell")
    return f"{pluralize(len(ablation.finished), 'finished run')} in {len(cells)} of {all_cells}"
