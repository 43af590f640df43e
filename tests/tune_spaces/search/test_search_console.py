"""The table of a search under way: which trial it stars as the best so far."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from csg.config.settings import flatten
from csg.messages.console import Console
from tests.tune_spaces.search.test_labels import search_of
from tune_spaces.execution.trial import CONFIG_ID, EPOCH, NUMBER, ROLE, SCORE
from tune_spaces.search.console import SearchConsole
from tune_spaces.search.journal import Event
from tune_spaces.search.plan import Search
from tune_spaces.spaces.shipped import SPACES


@pytest.fixture
def search() -> Search:
    return search_of(SPACES["stages"], train__epochs=1)


def list_rows(drawn: SearchConsole) -> list[str]:
    """Return the table's lines of trials."""
    console = Console(file=io.StringIO())
    console.print(drawn._make_table())
    assert isinstance(console.file, io.StringIO)
    return [line.strip() for line in console.file.getvalue().splitlines() if line.strip()[:3].isdigit()]


def make_trial(search: Search, number: int, role: str) -> Any:
    return SimpleNamespace(config={**flatten(search.config), NUMBER: number, ROLE: role, CONFIG_ID: str(number)})


def list_starred(drawn: SearchConsole) -> list[str]:
    return [row[:3] for row in list_rows(drawn) if "*" in row.split()]


def test_the_star_is_at_the_trial_that_the_search_would_choose(search: Search) -> None:
    drawn = SearchConsole(Console(file=io.StringIO()), search, [])
    assert list_starred(drawn) == []
    for number, (role, score) in enumerate(
        [("source_only", 0.9), ("default", 0.5), ("suggested", 0.7), ("suggested", 0.7)]
    ):
        trial = make_trial(search, number, role)
        drawn.on_trial_start(trial=trial)
        drawn.on_trial_result(trial=trial, result={EPOCH: 1, SCORE: score, "done": True})
    assert len(list_rows(drawn)) == 4
    assert list_starred(drawn) == ["002"], "source only is no candidate, and of equal ones it is the earliest"


def test_trials_from_before_an_interruption_count(search: Search) -> None:
    known = []
    for number, (role, score) in enumerate([("source_only", 0.9), ("default", 0.5), ("suggested", 0.4)]):
        settings = search.space.make_point(search.base)
        known.append(
            Event("suggested", number, settings=settings if number else {"method.name": "source_only"}, role=role)
        )
        known.append(Event("ended", number, epoch=1, score=score, decision="finished"))
    assert list_starred(SearchConsole(Console(file=io.StringIO()), search, known)) == ["001"]
