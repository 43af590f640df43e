"""The cluster that runs are trained on: joined or started quietly, and what its nodes must see.

Whatever can be refused is refused before the first run starts.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from csg.config import Config
from csg.config.settings import find_places, format_flag
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.messages.text import get_first_line
from csg.storage.address import get_sqlite_path, is_address
from csg.storage.layout import place_at
from csg.storage.place import Place
from csg.workers.cluster_health import check_answers, read_gone_seconds, watch
from csg.workers.slots import HEAD, list_resources

JOB_FOLDER = "runtime_resources/working_dir_files"
"""Part of the path of a submitted job's working folder, which Ray removes."""
PATIENCE_SECONDS = 120.0


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or else start one for this process; nothing where it is part of one.

    Ray itself sets RAY_ADDRESS for a submitted job. Left alone without it, Ray would join whatever cluster was last
    started on this machine, by whomever; and where a token lies in the home directory it would ask for it even if that
    cluster does not, so that no actor could start.

    Raises:
        UserError: no cluster can be joined at RAY_ADDRESS; see :func:`csg.workers.cluster_health.check_answers` and
            :func:`csg.workers.cluster_health.read_gone_seconds`.
        OutsideFaultError: Ray does not start here in time.
    """
    if ray.is_initialized():
        return
    gone_after = read_gone_seconds()
    logging.getLogger("ray").setLevel(logging.ERROR)
    address = os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        check_answers(address)
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
        where = f"the Ray cluster at RAY_ADDRESS={address}"
    else:
        _start_own()
        where = "the Ray that this command started"
    watch(ray.nodes, ray.is_initialized, where, gone_after=gone_after)


def _start_own() -> None:
    """Start a cluster of this machine alone."""
    try:
        ray.init(address="local", log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except Exception as error:  # Ray raises no type of its own where its node is not there after 30 s
        if "timed out during startup" not in str(error):
            raise
        raise OutsideFaultError(
            "Ray did not start on this machine within the 30 s that it waits; end other work here, or wait for its end"
        ) from error


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
        paths["tracking-uri"] = _get_store_path(tracking_uri)
    for name, path in paths.items():
        if JOB_FOLDER in path:
            raise UserError(
                f"{format_flag(name)}: a submitted job's working folder is removed when it ends; expected an absolute "
                f"path that all nodes see, found {path}"
            )


def _get_store_path(uri: str) -> str:
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
    probe.write(b"")
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
                if is_address(wanted[name]):
                    raise UserError(
                        f"{format_flag(name)}: {where} does not reach {wanted[name]}; it needs credentials, and a way "
                        "to the bucket"
                    )
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
    return [*([] if shared else ["train.output"]), *(name for name, path in paths.items() if not _is_seen(name, path))]


def _is_seen(setting: str, path: str) -> bool:
    """Whether this node sees a file or a folder, or reaches the bucket where it is an address."""
    if not is_address(path):
        return Path(path).exists()
    try:
        place_at(path, setting).reach(setting, writing=False)
    except UserError:
        return False
    return True
