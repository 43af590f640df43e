"""Draw the paper's figures: ``python analysis/paper_figures.py --experiment glyphs --out DIR``.

Each figure comes as PDF and PNG, as wide as a paper's column. What has no data is skipped, with the reason.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from analysis.figures.diversity_accuracy import diversity_accuracy
from analysis.figures.feature_panels import density_of
from analysis.figures.figure_style import RunFigure, write_figure
from analysis.figures.importance import compared_trials, importance, importance_figure
from analysis.figures.pictures import attention_figure, pictures_figure
from analysis.figures.protocol_figure import protocol_figure
from analysis.figures.search_budget import budget_figure
from analysis.figures.sensitivity import sensitivity
from analysis.runs.cells import check_unmixed
from analysis.runs.comparable import NoDataError
from analysis.runs.histories import with_scores
from analysis.runs.newest import distinct_key, unambiguous
from analysis.runs.run_table import AblationRuns, RunTable, SearchRuns
from analysis.runs.source import SourceOptions, options_of
from analysis.runs.task_figures import task_of
from csg.commands.script import run_script
from csg.messages.console import Console
from csg.messages.errors import UserError

Maker = Callable[[], RunFigure]


@dataclasses.dataclass(frozen=True)
class FigureOptions(SourceOptions):
    """Flags of the script."""

    out: Path = Path("figures")
    """Folder to write to."""
    mix: tuple[Literal["commit", "program", "data", "protocol"], ...] = ()
    """In what the runs of one figure may differ; the captions then say so."""
    importance_refits: Annotated[int, Field(ge=0)] = 100
    """Forests refitted to trials drawn anew, for the intervals of the importances; 0 leaves them out."""


def makers_of(table: RunTable, options: FigureOptions) -> dict[str, Maker]:
    """Return what draws each figure, by the stem of its files, in the order of the paper.

    Each raises :class:`~analysis.runs.comparable.NoDataError` where there is nothing to draw, and UserError where runs
    would be mixed that must not be.
    """
    parts = table.by_task()
    makers: dict[str, Maker] = {}
    for task, part in parts.items():
        suffix = f"_{task}" if len(parts) > 1 else ""
        makers |= {f"{name}{suffix}": make for name, make in _makers(part, options).items()}
    return makers


def _makers(table: RunTable, options: FigureOptions) -> dict[str, Maker]:
    """Return what draws each figure of the runs of one task."""
    ablations, searches = table.ablations(), table.searches()
    makers: dict[str, Maker] = {
        f"features_{unambiguous(ablation, ablations)}": _density(table, ablation, options) for ablation in ablations
    }
    makers |= {
        "diversity_accuracy": lambda: diversity_accuracy(table.runs, mix=options.mix),
        "sensitivity": lambda: sensitivity(ablations, searches, mix=options.mix),
        "search_budget": lambda: budget_figure(searches, mix=options.mix),
        "selection_protocols": lambda: protocol_figure(table.runs, mix=options.mix),
    }
    makers |= {
        f"importance_{distinct_key(search, searches)}": _importance(table, search, options) for search in searches
    }
    if task_of(table.runs).name == "segmentation":
        makers["pictures"] = lambda: pictures_figure(table, mix=options.mix)
    return makers | {"attention": lambda: attention_figure(table, mix=options.mix)}


def _density(table: RunTable, ablation: AblationRuns, options: FigureOptions) -> Maker:
    return lambda: density_of(table, ablation, mix=options.mix)


def _importance(table: RunTable, search: SearchRuns, options: FigureOptions) -> Maker:
    def draw() -> RunFigure:
        said = check_unmixed({"trials": [run for run in search.runs if run.metrics]}, allowed=options.mix)
        runs = with_scores(table, search)
        found = importance(runs, search.score, search.names, refits=options.importance_refits)
        if found.epoch is None or not found.values:
            raise NoDataError(found.note)
        figure = importance_figure(dataclasses.replace(found, note=" ".join([found.note, *said])))
        figure.runs = compared_trials(runs, search.score, found.epoch)
        return figure

    return draw


def _drawn(name: str, draw: Maker, folder: Path) -> Path | str | UserError:
    """Write a figure; return its PDF, why it is skipped, or why it is refused."""
    try:
        return write_figure(draw(), folder, name)[0]
    except NoDataError as error:
        return f"skipped {name}: {error}"
    except UserError as error:
        return UserError(f"{name}: {error}")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the figures.

    Returns:
        An exit code; see :func:`~csg.commands.script.run_script`. 2 also where a figure would mix runs that must not be
        mixed, or where none has data; all others are drawn.
    """

    def body(console: Console) -> bool:
        options = options_of(FigureOptions, argv, script=__file__, description=__doc__)
        table = options.read()
        results = []
        for name, draw in makers_of(table, options).items():
            results.append(said := _drawn(name, draw, options.out))
            if not isinstance(said, UserError):
                console.print(str(said))
        refused = [str(said) for said in results if isinstance(said, UserError)]
        if refused:
            raise UserError("these figures were not drawn:\n" + "\n".join(f"  {line}" for line in refused))
        if not any(isinstance(said, Path) for said in results):
            raise UserError("no figure can be drawn, for the reasons above; run a search or an ablation first")
        return True

    return run_script(body)


if __name__ == "__main__":
    sys.exit(main())
