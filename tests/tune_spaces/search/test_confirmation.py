"""What a confirmation says of its runs: whose figures a verdict compares, and what the table calls a change."""

from __future__ import annotations

from typing import Final, Literal

from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.selection import SELECTION_SCORE
from tests.tune_spaces.search.test_labels import search_of
from tune_spaces.designs.design import Cell, Design
from tune_spaces.search.confirmation import DEFAULT, SOURCE_ONLY, find_verdict, make_confirmation_table
from tune_spaces.spaces.shipped import SPACES

WINNER: Final = "008 csg"
ACCURACY, MEAN_CLASS_ACCURACY = "target/test/accuracy", "target/test/mean_class_accuracy"


def make_trial() -> TrackedRun:
    """Return the winner as the search knew it, under a seed that no fresh run has."""
    metrics = {SELECTION_SCORE: 0.9, ACCURACY: 0.99, MEAN_CLASS_ACCURACY: 0.99}
    return TrackedRun("best", WINNER, "finished", {}, {Tag.CONFIG_ID: "another than the default"}, metrics)


def make_fresh_run(
    cell: str, seed: int, real: float, *, status: Literal["finished", "failed"] = "finished"
) -> TrackedRun:
    """Return a run under a fresh seed; mean class accuracy, which no verdict is about, is 30 points lower."""
    metrics = {ACCURACY: real, MEAN_CLASS_ACCURACY: real - 0.3, SELECTION_SCORE: real - 0.1}
    return TrackedRun(f"{cell} {seed}", cell, status, {"train.seed": seed}, {Tag.CELL: cell}, metrics)


def make_fresh_runs() -> list[TrackedRun]:
    """Return runs under seeds 1 and 2: the second seed is better by a point in all cells."""
    means = {WINNER: 0.8, DEFAULT: 0.7, SOURCE_ONLY: 0.6}
    return [make_fresh_run(cell, seed, real + seed / 100) for cell, real in means.items() for seed in (1, 2)]


def test_a_verdict_compares_real_accuracy_of_the_fresh_runs_cell_by_cell() -> None:
    search = search_of(SPACES["stages"])
    failed = make_fresh_run(WINNER, 3, 0.1, status="failed")
    said = " ".join(find_verdict(search, make_trial(), [*make_fresh_runs(), failed]))
    assert "Under 2 fresh seeds the best configuration has a real accuracy of 81.5 %" in said
    assert "+20.0 points against source only" in said
    assert "+10.0 points against default setting" in said


def test_a_change_is_what_fresh_seeds_have_more_than_the_search_had() -> None:
    search = search_of(SPACES["stages"])
    design = Design(title="Winners", base=WINNER, cells=(Cell(WINNER, {}),))
    row = make_confirmation_table(search, design, {WINNER: make_trial()}, make_fresh_runs()).cells.loc[WINNER]
    assert row["n"].text == "2"
    searched, fresh, change = (row[name].text for name in row.index if name.startswith(("searched", "fresh", "change")))
    assert (searched, fresh.split()[0], change) == ("90.0", "71.5", "-18.5")
    assert row["real, searched %"].text == "99.0" and row["real, fresh %"].text.startswith("81.5")
