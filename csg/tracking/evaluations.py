"""What finished runs showed on other labelled sets, written to runs that are in a store already."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from mlflow.entities import Metric, RunTag

from csg.config.names import make_metric_name
from csg.tracking.reading import read_runs
from csg.tracking.store import reach, resolve_uri
from csg.tracking.tags import Tag


def record_evaluation(uri: str, run_name: str, *, set_name: str, fingerprint: str, metrics: Mapping[str, float]) -> int:
    """Write a run's figures on a set to every run of its identity, in whatever experiment; earlier ones are replaced.

    Args:
        uri: of the store.
        run_name: of the run's identity.
        set_name: of the set, by which the names of the metrics say it.
        fingerprint: of the set's images and labels, so that another set of the same name is noticed.
        metrics: by name.

    Returns:
        How many runs there are.

    Raises:
        UserError: there is no such store.
        TrackingError: the store is unreachable, or refuses.
    """
    uri = resolve_uri(uri)
    client = reach(uri)
    now, condition = int(time.time() * 1000), f"tags.`{Tag.RUN}` = '{run_name}'"
    found = [
        run
        for experiment in client.search_experiments()
        for run in read_runs(client, experiment.experiment_id, condition)
    ]
    for run in found:
        sets = read_evaluated_sets(run.tags) | {set_name: fingerprint}
        client.log_batch(
            run.run_id,
            metrics=[Metric(make_metric_name(name), value, now, 0) for name, value in metrics.items()],
            tags=[RunTag(Tag.EVALUATED, json.dumps(sets, sort_keys=True))],
        )
    return len(found)


def read_evaluated_sets(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the other sets that a run was measured on, by name, with the fingerprint of each."""
    sets: dict[str, str] = json.loads(tags.get(Tag.EVALUATED, "{}"))
    return sets
