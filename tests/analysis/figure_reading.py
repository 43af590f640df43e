"""What tests of figures share: runs changed, and all that stands in a figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.runs.run_table import AblationRuns, RunTable
from csg.tracking import TrackedRun


def named(table: RunTable, design: str) -> AblationRuns:
    (found,) = [each for each in table.list_ablations() if each.design == design]
    return found


def changed(table: RunTable, change: Callable[[TrackedRun], TrackedRun | None]) -> RunTable:
    kept = tuple(run for run in map(change, table.runs) if run is not None)
    return dataclasses.replace(table, runs=kept)


def retagged(run: TrackedRun, **tags: str) -> TrackedRun:
    return dataclasses.replace(run, tags={**run.tags, **{name.replace("_", "."): text for name, text in tags.items()}})


def words(figure: Figure) -> str:
    """All that stands in a figure, in one line."""
    return " ".join(" ".join(text.get_text() for text in shown(figure)).split())


def shown(figure: Figure) -> list[Text]:
    figure.draw_without_rendering()
    every = [each for each in figure.findobj(Text) if isinstance(each, Text)]
    return [text for text in every if text.get_visible() and text.get_text().strip()]


def output_of(
    main: Callable[[Sequence[str]], int], arguments: Sequence[Any], capsys: pytest.CaptureFixture[str]
) -> str:
    """Run a script that succeeds; return what it prints, in one line."""
    assert main([str(argument) for argument in arguments]) == 0
    return " ".join(capsys.readouterr().out.split())
