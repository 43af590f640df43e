"""Figures for the page: each at reading size with its caption as text, and one line on those without data."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Collection
from functools import partial
from typing import Final

from analysis.figures import style
from analysis.figures.paper import Maker, name_figure, plan_figures
from analysis.figures.parallel_coordinates import draw_parallel_coordinates
from analysis.figures.search_figures import draw_optimisation_history
from analysis.page.tables import name_anchor
from analysis.runs.comparable import NoDataError
from analysis.runs.newest import make_unique_key
from analysis.runs.run_table import RunTable, SearchRuns
from analysis.runs.trials import read_scores
from csg.messages.errors import UserError
from csg.tracking import TrackedRun

WIDE: Final = "parallel"
"""Begins the names of figures that take the width of the page."""
PHOTOGRAPHS: Final = ("attention", "pictures")
"""Begin the names of figures whose colours must stay as they are on a dark page."""


def write_figures(table: RunTable, *, mix: Collection[str] = ()) -> str:
    """Return every figure that the runs allow, and why the others are left out."""
    wide: list[str] = []
    narrow: list[str] = []
    refused: list[str] = []
    without: dict[str, str] = {}
    for name, draw in (_plan_searches(table) | plan_figures(table, mix=mix)).items():
        title = name_figure(name)
        try:
            written = _write_figure(name, title, draw())
            (wide if name.startswith(WIDE) else narrow).append(written)
        except NoDataError as error:
            without[title] = str(error)
        except UserError as error:
            refused.append(f"<p class='note'>{html.escape(title)}: {html.escape(str(error))}</p>")
    parts = [*wide, f"<div class='figures'>{''.join(narrow)}</div>", *refused]
    if without:
        reasons = "".join(f"<li>{html.escape(title)}: {html.escape(why)}</li>" for title, why in without.items())
        parts.append(
            f"<details class='note'><summary>Without data, and left out: {html.escape('; '.join(without))}.</summary>"
            f"<ul>{reasons}</ul></details>"
        )
    return "\n".join(parts)


def _plan_searches(table: RunTable) -> dict[str, Maker]:
    """Return what draws the figures of each search, the newest first."""
    searches = table.list_searches()
    makers: dict[str, Maker] = {}
    for search in reversed(searches):
        key = make_unique_key(search, searches) if len(searches) > 1 else ""
        makers[f"parallel_{key}".rstrip("_")] = partial(_draw_parallel, table, search)
        makers[f"history_{key}".rstrip("_")] = partial(_draw_history, table, search)
    return makers


def _draw_parallel(table: RunTable, search: SearchRuns) -> style.RunFigure:
    runs = _read_trials(table, search)
    return draw_parallel_coordinates(runs, search.score, search.names, logarithmic=search.logarithmic)


def _draw_history(table: RunTable, search: SearchRuns) -> style.RunFigure:
    return draw_optimisation_history(_read_trials(table, search), search.score)


def _read_trials(table: RunTable, search: SearchRuns) -> list[TrackedRun]:
    runs = read_scores(table, search)
    if not any(run.history.get(search.score) for run in runs):
        raise NoDataError("no trial has a score")
    return runs


def _write_figure(name: str, title: str, drawn: style.RunFigure) -> str:
    style.remove_caption(drawn)
    picture = io.BytesIO()
    drawn.savefig(picture, format="png")
    encoded = base64.b64encode(picture.getvalue()).decode()
    look = "photographs" if name.startswith(PHOTOGRAPHS) else "drawn"
    look += " wide" if name.startswith(WIDE) else ""
    caption = f"<figcaption>{html.escape(drawn.caption)}</figcaption>" if drawn.caption else ""
    return (
        f"<figure id='figure-{name_anchor(name)}' class='{look}'><h3>{html.escape(title)}</h3>"
        f"<div class='scroll'><img alt='{html.escape(title)}' src='data:image/png;base64,{encoded}'></div>{caption}"
        "</figure>"
    )
