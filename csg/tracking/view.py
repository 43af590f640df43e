"""A view of a search's or an ablation's runs in MLflow's own pages: which columns, which rows, in which order.

MLflow's page keeps views that are shared as tags of the experiment, and opens one that an address names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from csg.tracking.tags import BEST_TAG, CELL_TAG, PARENT_TAG, STATUS_TAG

TAGS = (STATUS_TAG, BEST_TAG, CELL_TAG)


def make_view_state(parent: str, settings: Sequence[str], score: str) -> str:
    """Return the state of a page that shows the runs below ``parent``, the best first.

    It has columns for ``settings``, for the selection score, and for ``score`` and E_0 on real images, and for no more.
    MLflow orders columns by itself: figures, settings, tags.
    """
    columns = [
        *(f"metrics.`{name}`" for name in ("selection/score", f"target/test/{score}", "target/test/E0_mhe")),
        *(f"params.`{name}`" for name in settings),
        *(f"tags.`{name}`" for name in TAGS),
    ]
    state = {
        "searchFilter": f"tags.`{PARENT_TAG}` = '{parent}'",
        "orderByKey": "metrics.`selection/score`",
        "orderByAsc": False,
        "selectedColumns": columns,
    }
    return json.dumps(state)


def make_view_address(experiment_id: str, key: str) -> str:
    """Return the part of a page's address after the server's that shows the view ``key``."""
    return f"/#/experiments/{experiment_id}/runs?viewStateShareKey={key}"


def make_run_address(experiment_id: str, run_id: str) -> str:
    """Return the part of a page's address after the server's that shows a run."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}"
