"""Which of several ablations is shown, what a caption says of the others, and names that tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from analysis.runs.run_table import AblationRuns, SearchRuns
from csg.messages.wording import pluralize
from csg.tracking.tags import Tag

CONFIRMATION: Final = "confirm-"
"""Begins the design's name of an ablation that trains the winners of a search again."""
WITHOUT_SOURCES: Final = "-held-out"
"""Ends the design's name of an ablation over trainings without each source, which score those of another one."""
FamilyT = TypeVar("FamilyT", AblationRuns, SearchRuns)


@dataclass(frozen=True)
class Newest:
    """The ablation that is shown, chosen from several."""

    ablation: AblationRuns
    note: str
    """Sentences for a caption: newer ablations without a finished run, and an older one with more of them; or empty."""


def choose_newest(ablations: Sequence[AblationRuns]) -> Newest:
    """Choose the newest ablation that has a finished run, or the newest of all if none has.

    Args:
        ablations: at least one, the oldest first.
    """
    place = max((index for index, each in enumerate(ablations) if each.finished), default=len(ablations) - 1)
    chosen = ablations[place]
    notes = [describe_empty(ablations[place + 1 :])]
    older = [each for each in ablations[:place] if each.design == chosen.design]
    fullest = max(reversed(older), key=lambda each: len(each.finished), default=chosen)
    if not chosen.complete and len(fullest.finished) > len(chosen.finished):
        extents = _describe_extent(chosen), _describe_extent(fullest)
        notes.append(f"Not complete: {chosen.key} has {extents[0]}, the older {fullest.key} {extents[1]}.")
    return Newest(chosen, " ".join(filter(None, notes)))


def choose_main(ablations: Sequence[AblationRuns], name: str) -> Newest:
    """Choose the newest ablation of a design or key; without a name, one of the rivals, or else of any design.

    An ablation without a finished run takes no other's place, unless it was named.

    Args:
        ablations: at least one, the oldest first.
        name: a design or a key; may be empty.
    """
    named = [each for each in ablations if name in (each.design, each.key)]
    rivals = [each for each in ablations if each.design == "rivals"]
    designed = [
        each
        for each in ablations
        if not (each.design.startswith(CONFIRMATION) or each.design.endswith(WITHOUT_SOURCES))
    ]
    choices = [named] if named else [rivals, designed, list(ablations)]
    filled = [among for among in choices if any(each.finished for each in among)]
    return choose_newest(next(iter([*filled, *filter(None, choices)])))


def describe_empty(newer: Sequence[AblationRuns]) -> str:
    """Name the newer ablations that have no finished run, in a sentence; empty if all have one."""
    empty = [each.key for each in newer if not each.finished]
    if not empty:
        return ""
    return f"Newer, but without a finished run, and not shown here: {', '.join(empty)}."


def name_ablation(ablation: AblationRuns, among: Sequence[AblationRuns]) -> str:
    """Return an ablation's design, or a unique key if the design was run in several versions.

    Versions without a finished run do not count, so that a name stays when a newer version is started.
    """
    same = [other for other in among if other.design == ablation.design]
    versions = [other for other in same if other.finished] or same
    alone = [other.parent.run_id for other in versions] == [ablation.parent.run_id]
    return ablation.design if alone else make_unique_key(ablation, among)


def make_unique_key(family: FamilyT, among: Sequence[FamilyT]) -> str:
    """Return a key that no other ablation or search has.

    Several output folders may hold the same key. All but the oldest of these get their number at the end.

    Args:
        family: an ablation or a search.
        among: all of them, the oldest first.
    """
    twins = [other.parent.run_id for other in among if other.key == family.key]
    place = twins.index(family.parent.run_id) + 1
    return family.key if place == 1 else f"{family.key}-{place}"


def _describe_extent(ablation: AblationRuns) -> str:
    cells = {run.tags.get(Tag.CELL) for run in ablation.finished}
    all_cells = pluralize(len(ablation.comparisons), "cell")
    return f"{pluralize(len(ablation.finished), 'finished run')} in {len(cells)} of {all_cells}"
