"""A Ray cluster on this machine, which processes join by its address."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from unittest.mock import patch

from ray.cluster_utils import Cluster

from tests.warm import open_door
from tests.warm_worker import DOOR

WORKER: Final = Path(__file__).with_name("warm_worker.py")


@contextmanager
def started_cluster(*, cpus: int, nodes: tuple[int, ...] = ()) -> Iterator[Cluster]:
    """Start a head with ``cpus`` CPUs and further nodes with so many each; all of them go at the end.

    Its files lie in a folder of its own, with a short name: those of its sockets may have 107 characters. It has no
    dashboard, which nothing here asks and which is ten processes. It is not noted as the machine's cluster, which may
    be somebody else's. ``ray stop`` by somebody else ends it all the same. Its workers are forked by a server that has
    imported what they import (:mod:`tests.warm_worker`), also on nodes that a test adds.
    """
    with tempfile.TemporaryDirectory(prefix="csg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "ray").mkdir()  # where its address is noted
        noted_there = patch.dict(os.environ, RAY_TMPDIR=folder)
        with noted_there:
            warm = {"setup_worker_path": str(WORKER), "env_vars": {DOOR: open_door()}}
            head = {"num_cpus": cpus, "include_dashboard": False, "temp_dir": folder, **warm}
            cluster = Cluster(initialize_head=True, head_node_args=head)
            cluster.add_node = partial(cluster.add_node, **warm)
        try:
            for each in nodes:
                cluster.add_node(num_cpus=each)
            yield cluster
        finally:
            with noted_there:
                cluster.shutdown()
