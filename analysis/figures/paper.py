"""All figures of a paper that the runs of an experiment allow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from analysis.figures.diversity_accuracy import draw_diversity_accuracy
from analysis.figures.feature_panels import draw_features
from analysis.figures.importance import draw_importance, estimate_importance, list_compared
from analysis.figures.pictures import draw_attention, draw_pictures
from analysis.figures.protocol_figure import draw_protocols
from analysis.figures.search_budget import draw_search_budget
from analysis.figures.sensitivity import draw_sensitivity
from analysis.figures.style import RunFigure
from analysis.runs.comparable import NoDataError, check_unmixed
from analysis.runs.metrics import get_task
from analysis.runs.newest import make_unique_key, name_ablation
from analysis.runs.run_table import RunTable, SearchRuns
from analysis.runs.trials import read_scores

Maker = Callable[[], RunFigure]
REFITS = 100
"""The number of forests that are refitted for the intervals of importances."""


TITLES: Final = {
    "features": "Features of real images",
    "diversity_accuracy": "Diversity against accuracy",
    "sensitivity": "Sensitivity to temperature and weights",
    "search_budget": "What a search finds with fewer trials",
    "selection_protocols": "Which score predicts real accuracy",
    "importance": "Which settings matter",
    "pictures": "Class maps of real images",
    "attention": "Attention of A-pool",
    "parallel": "Every trial of the search",
    "history": "The search, trial by trial",
}
"""What a figure is called, by the beginning of its files' name."""


def name_figure(name: str) -> str:
    """Return a figure's title: what it shows, and where there are several of the kind, of what."""
    kind = next((kind for kind in TITLES if name == kind or name.startswith(f"{kind}_")), name)
    rest = name[len(kind) + 1 :].replace("_", " ")
    return ", ".join(filter(None, [TITLES.get(kind, kind), rest]))


def plan_figures(table: RunTable, *, mix: Collection[str] = (), refits: int = REFITS) -> dict[str, Maker]:
    """Return what draws each figure, by the stem of its files, in the order of the paper.

    Each raises :class:`~analysis.runs.comparable.NoDataError` if there is nothing to draw, and UserError if runs would
    be mixed that must not be.

    Args:
        table: the runs.
        mix: in what the runs of one figure may differ.
        refits: the number of forests that are refitted for the intervals of importances; 0 leaves the intervals out.
    """
    parts = table.divide_by_task()
    makers: dict[str, Maker] = {}
    for task, part in parts.items():
        suffix = f"_{task}" if len(parts) > 1 else ""
        makers |= {f"{name}{suffix}": make for name, make in _list_makers(part, mix, refits).items()}
    return makers


def _list_makers(table: RunTable, mix: Collection[str], refits: int) -> dict[str, Maker]:
    """Return what draws each figure of the runs of one task."""
    ablations, searches = table.list_ablations(), table.list_searches()
    makers: dict[str, Maker] = {
        f"features_{name_ablation(ablation, ablations)}": partial(draw_features, table, ablation, mix=mix)
        for ablation in ablations
    }
    makers |= {
        "diversity_accuracy": partial(draw_diversity_accuracy, table.runs, mix=mix),
        "sensitivity": partial(draw_sensitivity, ablations, searches, mix=mix),
        "search_budget": partial(draw_search_budget, searches, mix=mix),
        "selection_protocols": partial(draw_protocols, table.runs, mix=mix),
    }
    for search in searches:
        draw = partial(_draw_importance, table, search, mix=mix, refits=refits)
        makers[f"importance_{make_unique_key(search, searches)}"] = draw
    if get_task(table.runs).name == "segmentation":
        makers["pictures"] = partial(draw_pictures, table, mix=mix)
    return makers | {"attention": partial(draw_attention, table, mix=mix)}


def _draw_importance(table: RunTable, search: SearchRuns, *, mix: Collection[str], refits: int) -> RunFigure:
    mixed = check_unmixed({"trials": [run for run in search.runs if run.metrics]}, mix=mix)
    runs = read_scores(table, search)
    found = estimate_importance(runs, search.score, search.names, refits=refits)
    if found.epoch is None or not found.values:
        raise NoDataError(found.note)
    figure = draw_importance(dataclasses.replace(found, note=" ".join([found.note, *mixed])))
    figure.runs = list_compared(runs, search.score, found.epoch)
    return figure
