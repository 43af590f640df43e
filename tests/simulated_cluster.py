"""A Ray cluster on this machine, which processes join by its address."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ray.cluster_utils import Cluster


@contextmanager
def started_cluster(*, cpus: int, nodes: tuple[int, ...] = ()) -> Iterator[Cluster]:
    """Start a head with ``cpus`` CPUs and further nodes with so many each; all of them go at the end.

    Its files lie in a folder of its own, with a short name: those of its sockets may have 107 characters. It has no
    dashboard, which nothing here asks and which is ten processes. ``ray stop`` by somebody else ends it all the same.
    """
    with tempfile.TemporaryDirectory(prefix="csg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        head = {"num_cpus": cpus, "include_dashboard": False, "temp_dir": folder}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for each in nodes:
                cluster.add_node(num_cpus=each)
            yield cluster
        finally:
            cluster.shutdown()
