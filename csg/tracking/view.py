"""A view of the runs of a search or an ablation in MLflow's pages: the columns, the rows, their order and the charts.

MLflow keeps a shared view as a tag of the experiment, in the form in which its pages keep their own state. The address
of the page names the view.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from csg.tracking.tags import Tag
from csg.training.selection import SELECTION_SCORE

TAGS: Final = (Tag.STATUS, Tag.BEST, Tag.CELL)
CHARTS: Final = "&compareRunsMode=CHART"
"""What the address of a view ends with, where the page shows charts beside the names of the runs."""
KIND: Final = "workflowType=machine_learning"
"""Part of an address, without which MLflow's pages are those for language models, whatever the experiment's kind.

It counts more than what a person chose there last.
"""
SECTION: Final = "csg"
"""Identifies the section of the charts, which stands above those that MLflow makes of all metrics."""


@dataclass(frozen=True)
class View:
    """What a page with the runs below a parent shows."""

    parent: str
    """The parent's run id."""
    settings: Sequence[str]
    """Settings that have a column."""
    score: str
    """The metric that is drawn by epoch."""
    real: str
    """The metric on real images that sums up a run."""
    axes: Sequence[str] = ()
    """Settings that every run has, for parallel coordinates; none for a bar chart of ``real``."""

    @property
    def columns(self) -> list[str]:
        """The columns in their order, as MLflow names them."""
        return [
            *(f"metrics.`{name}`" for name in (SELECTION_SCORE, self.real, "target/test/E0_mhe")),
            *(f"tags.`{name}`" for name in TAGS),
            *(f"params.`{name}`" for name in self.settings),
        ]

    def make_state(self) -> str:
        """Return the state of the page, the best runs first."""
        state = {
            "searchFilter": f"tags.`{Tag.PARENT}` = '{self.parent}'",
            "orderByKey": f"metrics.`{SELECTION_SCORE}`",
            "orderByAsc": False,
            "selectedColumns": self.columns,
            "columnOrder": self.columns,
            "runsHiddenMode": "FIRST_20_RUNS",
            "compareRunCharts": self._make_charts(),
            "compareRunSections": [_make_section()],
            "isAccordionReordered": True,
        }
        return json.dumps(state)

    def _make_charts(self) -> list[dict[str, Any]]:
        line: dict[str, Any] = {"type": "LINE", "metricKey": self.score, "xAxisKey": "step"}
        line |= {"selectedMetricKeys": [self.score]}
        parallel: dict[str, Any] = {"type": "PARALLEL", "selectedParams": list(self.axes), "showAllRuns": True}
        parallel |= {"selectedMetrics": [SELECTION_SCORE, self.real]}
        bars: dict[str, Any] = {"type": "BAR", "metricKey": self.real, "runsCountToCompare": 20}
        charts = [line, *([parallel] if self.axes else []), bars]
        fixed = {"metricSectionId": SECTION, "deleted": False, "isGenerated": False}
        return [{**chart, **fixed, "uuid": f"{SECTION}-{place}"} for place, chart in enumerate(charts)]


def _make_section() -> dict[str, Any]:
    flags = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": SECTION, "name": "In short", "columns": 1, "cardHeight": 360, **flags}  # narrower ones hide titles


def make_note(view: str, verdict: Sequence[str], description: str) -> str:
    """Write the description of a parent run: links to its view, below them the verdict, and what it is.

    MLflow hides what is below the first 100 pixels until a button is pressed, so that no space parts links and verdict.

    Args:
        view: the address of the view.
        verdict: sentences; none while there is no verdict.
        description: what the parent is.
    """
    first = f"[All its runs, the best first]({view[1:]}), and [their charts]({view[1:]}{CHARTS})"
    if verdict:
        first += f"  \n{' '.join(verdict)}"
    return f"{first}\n\n{description}"


def escape_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is; asterisks would make words of a configuration's summary italic.

    MLflow's Showdown takes no backslash before an angle bracket.
    """
    return re.sub(r"([\\`*_\[\]])", r"\\\1", text).replace("<", "&lt;")


def read_description(note: str) -> str:
    """Return what a note of :func:`make_note` says that the run is."""
    return note.partition("\n\n[")[0].rpartition("\n\n")[2]


def make_view_address(experiment_id: str, key: str) -> str:
    """Return the address of the view ``key``, to append to the server's; its charts are at CHARTS behind that."""
    return f"/#/experiments/{experiment_id}/runs?{KIND}&viewStateShareKey={key}"


def make_run_address(experiment_id: str, run_id: str) -> str:
    """Return the address of the page of a run, to append to the server's."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{KIND}"
