"""How many runs at a time a cluster takes, and what people are told when it becomes too small for one.

Ray's nodes come and go, so that all of it is asked anew each time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.autoscaler.sdk import request_resources

from csg.config import Config
from csg.messages.errors import UserError
from csg.messages.wording import pluralize

HEAD = "node:__internal_head__"
"""What Ray calls the head node's own resource."""
LOOK_SECONDS = 2.0
"""How often a search or an ablation checks whether a run still fits on the cluster."""


def list_resources(config: Config) -> dict[str, float]:
    """Return what the process of one run takes from Ray.

    With several workers the run's own process only waits, on the head node: it takes no CPU that a worker needs.
    """
    if config.train.workers > 1:
        return {"cpu": 0, HEAD: 0.001}
    return {"cpu": config.cpus_per_worker, "gpu": config.gpus_per_worker}


def count_fitting(config: Config, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return how many runs of ``config`` fit at a time on ``nodes``, given by their resources.

    A worker lies on one node; a run's workers may lie on several.
    """
    return sum(_count_places(config, node) for node in nodes) // config.train.workers


def _count_places(config: Config, node: Mapping[str, float]) -> int:
    """Return how many workers fit on a node; a worker that takes a part of a GPU takes it of one GPU."""
    cpus, gpus = config.cpus_per_worker, config.gpus_per_worker
    by_cpus = int(node.get("CPU", 0.0) // cpus)
    if not gpus:
        return by_cpus
    if gpus >= 1:
        return min(by_cpus, int(node.get("GPU", 0.0) // gpus))
    sharing = int(1 / gpus + 1e-9)  # the nearest float to 1 / 0.1 may lie below 10
    return min(by_cpus, int(node.get("GPU", 0.0)) * sharing)


@dataclass(frozen=True)
class Slots:
    """How many runs at a time a cluster takes, as it is at the moment: nodes come and go."""

    configs: tuple[Config, ...]
    """What may run; the most demanding of those with room decides."""
    asked: int
    """0 for as many as fit."""
    at_most: int
    """Of those that fit."""

    def count_now(self) -> int:
        """Return how many runs to train at a time, never below 1: Ray queues a run until resources are free."""
        nodes = list_nodes()
        fits = [count_fitting(config, nodes) for config in self.configs]
        return self.asked or max(1, min(self.at_most, *(count or self.at_most for count in fits)))

    def choose_next_place(self, waiting: Sequence[Config], under_way: Sequence[Config]) -> int | None:
        """Return the place among those ``waiting`` of the run to start now, or None while none should.

        A run that does not fit holds up no other. If nothing is running, the first one is started all the same: an
        autoscaling cluster grows only for what was submitted.
        """
        nodes = list_nodes()
        if sum(count_fitting(config, nodes) > 0 for config in under_way) >= self.count_now():
            return None
        anyway = 0 if waiting and not under_way else None
        return next((place for place, config in enumerate(waiting) if count_fitting(config, nodes) > 0), anyway)

    def describe_shortages(self) -> list[str]:
        """Say what is needed and what nodes there are, for each configuration without room for even one run."""
        nodes = list_nodes()
        return [_describe_shortage(config, nodes) for config in self.configs if count_fitting(config, nodes) < 1]

    def wait_and_check(self) -> None:
        """Wait for nodes that are still starting, up to ``train.wait_minutes``.

        Raises:
            UserError: not even one run fits, or fewer than were asked for; with the arithmetic.
        """
        for config in self.configs:
            _wait_for_nodes(config, max(1, self.asked))
            _check_fits(config, self.asked)


def list_nodes() -> list[dict[str, float]]:
    """Return the resources of each node of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _wait_for_nodes(config: Config, runs: int) -> None:
    deadline = time.monotonic() + 60 * config.train.wait_minutes
    if not config.train.wait_minutes or count_fitting(config, list_nodes()) >= runs:
        return
    bundle = {"CPU": config.cpus_per_worker} | ({"GPU": config.gpus_per_worker} if config.gpus_per_worker else {})
    try:
        while count_fitting(config, list_nodes()) < runs and time.monotonic() < deadline:
            # For an autoscaling cluster; again and again, since only the last request counts.
            request_resources(bundles=[bundle] * config.train.workers * runs)
            time.sleep(1)
    finally:
        request_resources(bundles=[])  # otherwise the cluster would never shrink again


def _check_fits(config: Config, asked: int) -> None:
    nodes = list_nodes()
    fits = count_fitting(config, nodes)
    if fits < 1:
        raise UserError(
            f"--train.workers: {_describe_shortage(config, nodes)}; ask for fewer train.workers, train.threads or "
            "data.workers, or use --train.device cpu where GPUs are short; if nodes are still starting, "
            "--train.wait-minutes waits for them"
        )
    if asked > fits:
        raise UserError(
            f"--concurrency: {asked} runs need {asked} times {_describe_need(config)}; "
            f"the cluster's {_describe_nodes(nodes)}; expected at most {fits}"
        )


def _describe_shortage(config: Config, nodes: Sequence[Mapping[str, float]]) -> str:
    return f"a run needs {_describe_need(config)}, each on one node; the cluster's {_describe_nodes(nodes)}"


def _describe_need(config: Config) -> str:
    workers, gpus = config.train.workers, config.gpus_per_worker
    each = f"{pluralize(workers, 'worker')} of {pluralize(config.cpus_per_worker, 'CPU')}"
    return f"{each} and {pluralize(gpus, 'GPU')}" if gpus else each


def _describe_nodes(nodes: Sequence[Mapping[str, float]]) -> str:
    each = "; ".join(
        f"{pluralize(node.get('CPU', 0), 'CPU')} and {pluralize(node.get('GPU', 0), 'GPU')}" for node in nodes
    )
    return f"{pluralize(len(nodes), 'node')} {'has' if len(nodes) == 1 else 'have'} {each or 'nothing'}"


class RoomWatch:
    """Reports when some runs do not fit on the cluster any more, and when they fit again."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Take ``tell``, which shows a line to the user."""
        self._tell = tell
        self._told = ""
        self._looked = -math.inf

    def look(self, slots: Slots) -> None:
        """Check whether what may run fits, at most every LOOK_SECONDS; report each change once."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        shortages = slots.describe_shortages()
        if len(shortages) == len(slots.configs):
            text = f"Waiting for machines: {shortages[0]}. Nothing is lost: it goes on by itself when machines come; "
        elif shortages:
            text = f"Some runs wait for machines: {shortages[0]}. The others go on, and these when machines come; "
        else:
            text = ""
        if text != self._told:
            self._told = text
            ending = "Ctrl-C ends it, and the same command goes on later."
            self._tell(text + ending if text else "The cluster has room again: going on.")
