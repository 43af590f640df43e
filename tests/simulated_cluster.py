"""A Ray cluster on this machine, which processes join by its address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray.cluster_utils import Cluster


@contextmanager
def started_cluster(*, cpus: int, nodes: tuple[int, ...] = ()) -> Iterator[Cluster]:
    """Start a head with ``cpus`` CPUs and further nodes with so many each; all of them go at the end."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus})
    try:
        for each in nodes:
            cluster.add_node(num_cpus=each)
        yield cluster
    finally:
        cluster.shutdown()
