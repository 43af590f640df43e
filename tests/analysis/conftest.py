"""A made-up experiment and its figures, made once."""

from __future__ import annotations

import pytest

from analysis.figures.paper import plan_figures
from analysis.figures.style import RunFigure
from analysis.runs.run_table import RunTable
from tests.analysis.made_up_experiment import experiment, write_experiment


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> RunTable:
    return write_experiment(experiment(), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def figures(table: RunTable) -> dict[str, RunFigure]:
    return {name: draw() for name, draw in plan_figures(table, refits=2).items()}
