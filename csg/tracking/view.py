"""A view of the runs of a search or an ablation in MLflow's pages: the columns, the rows and their order.

MLflow keeps a shared view as a tag of the experiment. The address of the page names the view.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from csg.tracking.tags import Tag
from csg.training.selection import SELECTION_SCORE

TAGS = (Tag.STATUS, Tag.BEST, Tag.CELL)


def make_view_state(parent: str, settings: Sequence[str], score: str) -> str:
    """Return the state of a page with the runs below ``parent``, the best first.

    The columns are ``settings``, the selection score, ``score`` and E_0 on real images, and some tags. MLflow orders
    the columns itself: metrics, settings, tags.
    """
    columns = [
        *(f"metrics.`{name}`" for name in (SELECTION_SCORE, f"target/test/{score}", "target/test/E0_mhe")),
        *(f"params.`{name}`" for name in settings),
        *(f"tags.`{name}`" for name in TAGS),
    ]
    state = {
        "searchFilter": f"tags.`{Tag.PARENT}` = '{parent}'",
        "orderByKey": f"metrics.`{SELECTION_SCORE}`",
        "orderByAsc": False,
        "selectedColumns": columns,
    }
    return json.dumps(state)


def make_view_address(experiment_id: str, key: str) -> str:
    """Return the address of the view ``key``, to append to the server's."""
    return f"/#/experiments/{experiment_id}/runs?viewStateShareKey={key}"


def make_run_address(experiment_id: str, run_id: str) -> str:
    """Return the address of the page of a run, to append to the server's."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}"
