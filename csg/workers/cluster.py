"""The cluster that runs are trained on: joined or started quietly, what fits on it, and what its nodes must see.

Whatever can be refused is refused before the first run starts.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import ray
from ray.autoscaler.sdk import request_resources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from csg.config import Config
from csg.config.settings import find_places, format_flag
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.messages.text import get_first_line
from csg.messages.wording import pluralize
from csg.storage.address import get_sqlite_path, is_address
from csg.storage.layout import place_at
from csg.storage.place import Place
from csg.workers.cluster_health import check_answers, gone_seconds, watch


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or else start one for this process; nothing where it is part of one.

    Ray itself sets RAY_ADDRESS for a submitted job. Left alone without it, Ray would join whatever cluster was last
    started on this machine, by whomever; and where a token lies in the home directory it would ask for it even if that
    cluster does not, so that no actor could start.

    Raises:
        UserError: no cluster can be joined at RAY_ADDRESS; see :func:`csg.workers.cluster_health.check_answers` and
            :func:`csg.workers.cluster_health.gone_seconds`.
    """
    if ray.is_initialized():
        return
    gone_after = gone_seconds()
    logging.getLogger("ray").setLevel(logging.ERROR)
    address = os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        check_answers(address)
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
        where = f"the Ray cluster at RAY_ADDRESS={address}"
    else:
        ray.init(address="local", log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        where = "the Ray that this command started"
    watch(ray.nodes, ray.is_initialized, where, gone_after=gone_after)


JOB_FOLDER = "runtime_resources/working_dir_files"
"""Part of the path of a submitted job's working folder, which Ray removes."""
PATIENCE_SECONDS = 120.0
HEAD = "node:__internal_head__"
"""What Ray calls the head node's own resource."""


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
    return sum(_places(config, node) for node in nodes) // config.train.workers


def _places(config: Config, node: Mapping[str, float]) -> int:
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

    def now(self) -> int:
        """Return how many runs to train at a time, never below 1: Ray queues a run until resources are free."""
        nodes = list_nodes()
        fits = [count_fitting(config, nodes) for config in self.configs]
        return self.asked or max(1, min(self.at_most, *(count or self.at_most for count in fits)))

    def next_place(self, waiting: Sequence[Config], under_way: Sequence[Config]) -> int | None:
        """Return the place among those ``waiting`` of the run to start now, or None while none should.

        A run that does not fit holds up no other. If nothing is running, the first one is started all the same: an
        autoscaling cluster grows only for what was submitted.
        """
        nodes = list_nodes()
        if sum(count_fitting(config, nodes) > 0 for config in under_way) >= self.now():
            return None
        anyway = 0 if waiting and not under_way else None
        return next((place for place, config in enumerate(waiting) if count_fitting(config, nodes) > 0), anyway)

    def shortages(self) -> list[str]:
        """Say what is needed and what nodes there are, for each configuration without room for even one run."""
        nodes = list_nodes()
        return [_shortage(config, nodes) for config in self.configs if count_fitting(config, nodes) < 1]

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
            f"--train.workers: {_shortage(config, nodes)}; ask for fewer train.workers, train.threads or data.workers, "
            "or use --train.device cpu where GPUs are short; if nodes are still starting, --train.wait-minutes waits "
            "for them"
        )
    if asked > fits:
        raise UserError(
            f"--concurrency: {asked} runs need {asked} times {_need(config)}; the cluster's {_have(nodes)}; "
            f"expected at most {fits}"
        )


def _shortage(config: Config, nodes: Sequence[Mapping[str, float]]) -> str:
    return f"a run needs {_need(config)}, each on one node; the cluster's {_have(nodes)}"


def _need(config: Config) -> str:
    workers, gpus = config.train.workers, config.gpus_per_worker
    each = f"{pluralize(workers, 'worker')} of {pluralize(config.cpus_per_worker, 'CPU')}"
    return f"{each} and {pluralize(gpus, 'GPU')}" if gpus else each


def _have(nodes: Sequence[Mapping[str, float]]) -> str:
    each = "; ".join(
        f"{pluralize(node.get('CPU', 0), 'CPU')} and {pluralize(node.get('GPU', 0), 'GPU')}" for node in nodes
    )
    return f"{pluralize(len(nodes), 'node')} {'has' if len(nodes) == 1 else 'have'} {each or 'nothing'}"


def check_output(config: Config, tracking_uri: str | None = None) -> None:
    """Refuse to write into a submitted job's working folder.

    Args:
        config: of what is to run.
        tracking_uri: the MLflow store, unless there is none.

    Raises:
        UserError: ``train.output``, ``data.cache`` or the store lies in it.
    """
    paths = find_places(config.train, "written", "train.") | find_places(config.data, "written", "data.")
    if tracking_uri is not None:
        paths["tracking-uri"] = _path_of_store(tracking_uri)
    for name, path in paths.items():
        if JOB_FOLDER in path:
            raise UserError(
                f"{format_flag(name)}: a submitted job's working folder is removed when it ends; expected an absolute "
                f"path that all nodes see, found {path}"
            )


def _path_of_store(uri: str) -> str:
    """Return the absolute path of a store in files; "" where the URI names a server."""
    found = get_sqlite_path(uri)
    if found is not None:
        return str(found)
    scheme, colon, _ = uri.partition(":")
    if colon and scheme != "file":
        return ""
    return str(Path(unquote(urlsplit(uri).path) if colon else uri).absolute())


def check_nodes(config: Config) -> None:
    """See on every node that can train that ``train.output`` is shared and that what is read is there.

    Raises:
        UserError: names the node and what it lacks.
    """
    nodes = {
        node["NodeID"]: node
        for node in ray.nodes()
        if node["Alive"]
        and (node["Resources"].get("CPU", 0) > 0 or HEAD in list_resources(config).keys() & node["Resources"])
    }
    output = place_at(config.train.output)
    probe = output / f".probe-{uuid.uuid4().hex}"
    with probe.replacing():
        pass
    look = ray.remote(num_cpus=0)(find_missing)
    wanted = list_inputs(config)
    try:
        answers = {
            node: look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                wanted, output, probe
            )
            for node in nodes
        }
        for node, answer in answers.items():
            where = f"node {nodes[node]['NodeManagerHostname']} ({nodes[node]['NodeManagerAddress']})"
            try:
                lacks = ray.get(answer, timeout=PATIENCE_SECONDS)
            except ray.exceptions.RayError as error:
                raise UserError(
                    f"cluster: {where} runs nothing ({type(error).__name__}: {get_first_line(str(error))}); is csg "
                    "installed there, with the driver's versions?"
                ) from error
            if "train.output" in lacks and is_address(config.train.output):
                raise UserError(
                    f"--train.output: {where} does not see what was just written to {output}; it needs "
                    "credentials, and a way to the bucket"
                )
            if "train.output" in lacks:
                raise UserError(
                    f"--train.output: expected a folder that all nodes share, but {where} does not see what was just "
                    f"written to {output}; use a shared path, or a bucket (s3://...)"
                )
            if lacks:
                name = lacks[0]
                raise UserError(
                    f"{format_flag(name)}: {where} has no {wanted[name]}; put it on every node, or on a shared path"
                )
    finally:
        probe.remove()


def list_inputs(config: Config) -> dict[str, str]:
    """Return the files and folders that a configuration reads, by setting."""
    paths = {
        "method.path": config.method.path,
        "model.path": config.model.path,
        "model.teacher_path": config.model.teacher_path,
    }
    files = {name: (place or "").rpartition(":")[0] for name, place in paths.items()}
    return find_places(config, "read") | {name: file for name, file in files.items() if file.endswith(".py")}


def find_missing(paths: Mapping[str, str], output: Place, probe: Place) -> list[str]:
    """Return the settings whose paths this node does not see; train.output where ``output`` shows no ``probe``."""
    try:
        output.reach("train.output", writing=True)
        shared = probe.exists()
    except (UserError, OutsideFaultError):
        shared = False
    return [*([] if shared else ["train.output"]), *(name for name, path in paths.items() if not Path(path).exists())]
