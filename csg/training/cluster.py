"""The cluster that runs are trained on: joined or started quietly, what fits on it, and what its nodes must see.

Whatever can be refused is refused before the first run starts.
"""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.autoscaler.sdk import request_resources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from csg.config import NAMED_WEIGHTS, Config, ConfigError, flatten


def start_ray() -> None:
    """Join the cluster that the environment names, or start one here, unless this process is part of one."""
    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)


JOB_FOLDER = "runtime_resources/working_dir_files"
"""Part of the path of a submitted job's working folder, which Ray removes."""
INPUTS = ("data.root", "data.source", "data.target", "model.weights", "model.teacher_weights", "method.path")
"""Settings that name files or folders to read."""
PATIENCE_SECONDS = 120.0
HEAD = "node:__internal_head__"
"""What Ray calls the head node's own resource."""


def resources_of(config: Config) -> dict[str, float]:
    """Return what the process of one run takes from Ray.

    With several workers the run's own process only looks on, from the head node: it takes no CPU that a worker needs.
    """
    if config.train.workers > 1:
        return {"cpu": 0, HEAD: 0.001}
    return {"cpu": config.cpus_per_worker, "gpu": config.gpus_per_worker}


def fitting(config: Config, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return how many runs of ``config`` fit at a time on ``nodes``, given by their resources.

    A worker lies on one node; a run's workers may lie on several.
    """
    cpus, gpus = config.cpus_per_worker, config.gpus_per_worker
    places = sum(
        int(min(node.get("CPU", 0.0) / cpus, node.get("GPU", 0.0) / gpus if gpus else math.inf)) for node in nodes
    )
    return places // config.train.workers


@dataclass(frozen=True)
class Slots:
    """How many runs at a time a cluster takes, as it is at the moment: nodes come and go."""

    configs: tuple[Config, ...]
    """What may run; the most demanding decides."""
    asked: int
    """0 for as many as fit."""
    at_most: int
    """Of those that fit."""

    def now(self) -> int:
        """Return how many: at least one, which waits for room where there is none."""
        nodes = alive()
        return self.asked or max(1, min(self.at_most, *(fitting(config, nodes) for config in self.configs)))

    def wait_and_check(self) -> None:
        """Wait for nodes that are still starting, up to ``train.wait_minutes``.

        Raises:
            ConfigError: not even one run fits, or fewer than were asked for; with the arithmetic.
        """
        for config in self.configs:
            _wait_for_nodes(config, max(1, self.asked))
            _check_fits(config, self.asked)


def alive() -> list[dict[str, float]]:
    """Return the resources of each node of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _wait_for_nodes(config: Config, runs: int) -> None:
    deadline = time.monotonic() + 60 * config.train.wait_minutes
    if config.train.wait_minutes and fitting(config, alive()) < runs:
        bundle = {"CPU": config.cpus_per_worker} | ({"GPU": config.gpus_per_worker} if config.gpus_per_worker else {})
        request_resources(bundles=[bundle] * config.train.workers * runs)  # for a cluster that grows when asked
        while fitting(config, alive()) < runs and time.monotonic() < deadline:
            time.sleep(1)


def _check_fits(config: Config, asked: int) -> None:
    nodes, workers, gpus = alive(), config.train.workers, config.gpus_per_worker
    fits = fitting(config, nodes)
    need = f"{workers} worker{'s' if workers > 1 else ''} of {config.cpus_per_worker} CPUs" + (
        f" and {gpus:g} GPUs" if gpus else ""
    )
    have = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    if fits < 1:
        raise ConfigError(
            f"--train.workers: a run needs {need}, each on one node; the cluster's {len(nodes)} node(s) have {have}; "
            "ask for fewer train.workers, train.threads or data.workers, or use --train.device cpu where GPUs are "
            "short; if nodes are still starting, --train.wait-minutes waits for them"
        )
    if asked > fits:
        raise ConfigError(
            f"--concurrency: {asked} runs need {asked} times {need}; the cluster's {len(nodes)} node(s) have {have}; "
            f"expected at most {fits}"
        )


def check_output(config: Config) -> None:
    """Refuse to write into a submitted job's working folder.

    Raises:
        ConfigError: ``train.output`` or ``data.cache`` lies in it.
    """
    for name in ("train.output", "data.cache"):
        path = flatten(config)[name]
        if JOB_FOLDER in path:
            raise ConfigError(
                f"--{name}: a submitted job's working folder is removed when it ends; expected an absolute path that "
                f"all nodes see, found {path}"
            )


def check_nodes(config: Config) -> None:
    """See on every node that can train that ``train.output`` is shared and that what is read is there.

    Raises:
        ConfigError: names the node and what it lacks.
    """
    nodes = {
        node["NodeID"]: node
        for node in ray.nodes()
        if node["Alive"]
        and (node["Resources"].get("CPU", 0) > 0 or HEAD in resources_of(config).keys() & node["Resources"])
    }
    output = Path(config.train.output)
    probe = output / f".probe-{uuid.uuid4().hex}"
    probe.touch()
    look = ray.remote(num_cpus=0)(missing)
    wanted = inputs(config) | {"train.output": str(probe)}
    try:
        answers = {
            node: look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(wanted)
            for node in nodes
        }
        for node, answer in answers.items():
            where = f"node {nodes[node]['NodeManagerHostname']} ({nodes[node]['NodeManagerAddress']})"
            try:
                lacks = ray.get(answer, timeout=PATIENCE_SECONDS)
            except ray.exceptions.RayError as error:
                raise ConfigError(
                    f"cluster: {where} runs nothing ({type(error).__name__}: {_first_line(error)}); is csg installed "
                    "there, with the driver's versions?"
                ) from error
            if "train.output" in lacks:
                raise ConfigError(
                    f"--train.output: expected a folder that all nodes share, but {where} does not see what was just "
                    f"written to {output}; use a shared path"
                )
            if lacks:
                name = lacks[0]
                raise ConfigError(f"--{name}: {where} has no {wanted[name]}; put it on every node, or on a shared path")
    finally:
        probe.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def inputs(config: Config) -> dict[str, str]:
    """Return the files and folders that a configuration reads, by setting."""
    flat = flatten(config)
    named = {name: str(flat[name]) for name in INPUTS if flat.get(name) not in (None, *NAMED_WEIGHTS)}
    files = {name: path.rpartition(":")[0] if name == "method.path" else path for name, path in named.items()}
    return {name: path for name, path in files.items() if name != "method.path" or path.endswith(".py")}


def missing(paths: Mapping[str, str]) -> list[str]:
    """Return the names of the paths that this node does not see."""
    return [name for name, path in paths.items() if not Path(path).exists()]
