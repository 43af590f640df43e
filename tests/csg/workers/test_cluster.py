"""Searches on clusters: what fits, what every node must have, and nodes that come and go."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st
from ray._private.ray_constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL
from ray.cluster_utils import Cluster

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.parsing import build_config
from csg.workers import cluster as cluster_module
from csg.workers import slots as slots_module
from csg.workers.cluster import check_nodes, check_output, list_inputs, start_ray
from csg.workers.slots import HEAD, RoomWatch, Slots, count_fitting, list_resources
from tests import warm
from tests.few_images import few_images
from tests.simulated_cluster import started_cluster
from tests.small_space import SEARCHED
from tests.stores import put_store_below
from tests.tune_spaces.search.test_search import SCRIPT, reported, what_happened
from tune_spaces.search.journal import Event, list_in_flight

SMALL = [
    *("--data.source-images", "40", "--train.epochs", "2", "--train.batch-size", "8"),
    *("--optim.warmup-steps", "2", "--train.checkpoint-minutes", "0.01", "--train.threads", "1", *SEARCHED),
]


def test_a_worker_lies_on_one_node_and_a_run_on_several() -> None:
    config = build_config({"train.workers": 4, "train.threads": 2})
    assert count_fitting(config, [{"CPU": 3.0}, {"CPU": 5.0}]) == 0, "one place and two: three workers of two CPUs"
    assert count_fitting(config, [{"CPU": 4.0}, {"CPU": 5.0}]) == 1


@pytest.mark.parametrize(
    ("share", "gpus", "fits"), [(0.25, 1, 4), (0.4, 2, 4), (0.1, 1, 10), (0.6, 3, 3), (1, 3, 3), (2, 3, 1)]
)
def test_a_part_of_a_gpu_is_a_part_of_one_gpu(share: float, gpus: int, fits: int) -> None:
    shared = build_config({"train.device": "cuda", "train.gpus_per_worker": float(share)})
    assert count_fitting(shared, [{"CPU": 32.0, "GPU": float(gpus)}, {"CPU": 8.0}]) == fits
    assert count_fitting(shared, [{"CPU": 2.0, "GPU": float(gpus)}]) == min(fits, 2)


@given(st.lists(st.integers(0, 9), max_size=4), st.sampled_from([1, 2, 4]), st.integers(1, 3))
def test_no_more_runs_fit_than_there_are_cpus(cpus: list[int], workers: int, threads: int) -> None:
    config = build_config({"train.workers": workers, "train.threads": threads})
    fits = count_fitting(config, [{"CPU": float(count)} for count in cpus])
    assert fits * workers * threads <= sum(cpus)
    assert count_fitting(config, [{"CPU": float(count)} for count in (*cpus, workers * threads)]) > fits


def test_a_cluster_without_room_is_told_once_per_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run needs, what there is, how to end it; and that it goes on."""
    slots = Slots((build_config({"train.threads": 2}), build_config({})), asked=0, at_most=4)
    clusters: list[tuple[float, ...]] = [(2,), (1, 1), (1, 1), (1,), (1,), (), (1, 3), (2,)]
    now = 0.0
    said: list[str] = []
    nodes: list[dict[str, float]] = []
    monkeypatch.setattr(slots_module, "list_nodes", lambda: nodes)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = RoomWatch(said.append)
    for cpus in clusters:
        nodes, now = [{"CPU": count} for count in cpus], now + 2
        watch.look(slots)
        nodes = []
        watch.look(slots)  # at once, so that nothing is looked at
    assert [text.partition(";")[0] for text in said] == [
        "Some runs wait for machines: a run needs 1 worker of 2 CPUs, each on one node",
        "Some runs wait for machines: a run needs 1 worker of 2 CPUs, each on one node",
        "Waiting for machines: a run needs 1 worker of 2 CPUs, each on one node",
        "The cluster has room again: going on.",
    ]
    assert "2 nodes have 1 CPU and 0 GPUs; 1 CPU and 0 GPUs. " in said[0] and "1 node has 1 CPU and" in said[1]
    assert all("Ctrl-C ends it, and the same command goes on later" in text for text in said[:3])


def test_what_a_shrunken_cluster_has_no_room_for_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = build_config({}), build_config({"train.threads": 2})
    nodes = [{"CPU": 1.0}, {"CPU": 1.0}]
    monkeypatch.setattr(slots_module, "list_nodes", lambda: nodes)
    slots = Slots((small, large), asked=0, at_most=4)
    assert slots.choose_next_place([large, small], []) == 1
    assert slots.choose_next_place([large, small], [large, small]) == 1, "the large one waits, and takes no slot"
    assert slots.choose_next_place([small], [small, small]) is None
    assert slots.choose_next_place([large], [small]) is None
    assert slots.choose_next_place([large], []) == 0, "a cluster that grows when asked has to be asked"
    assert slots.choose_next_place([], []) is None


def test_the_process_of_a_run_of_several_workers_takes_no_cpu_from_them() -> None:
    assert list_resources(build_config({"train.workers": 2})) == {"cpu": 0, HEAD: 0.001}
    assert list_resources(build_config({"train.threads": 3})) == {"cpu": 3, "gpu": 0.0}


def test_a_jobs_own_folder_is_no_place_for_results() -> None:
    job = "/tmp/ray/session/runtime_resources/working_dir_files/_ray_pkg"
    with pytest.raises(UserError, match=r"--train\.output: a submitted job's working folder is removed"):
        check_output(build_config({"train.output": f"{job}/runs"}))
    shared = build_config({"train.output": "/shared/runs", "data.cache": "/shared/cache"})
    for inside in (f"sqlite:///{job}/mlflow.db", f"file://{job}/mlruns", f"file:{job}/mlruns", f"{job}/mlruns"):
        with pytest.raises(UserError, match=r"--tracking-uri: a submitted job's working folder is removed"):
            check_output(shared, inside)
    for outside in ("sqlite:////shared/mlflow.db", "http://server:5000", "postgresql://server/mlflow", None):
        check_output(shared, outside)


def test_a_store_that_is_named_by_a_relative_path_lies_in_the_jobs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg"
    job.mkdir(parents=True)
    monkeypatch.chdir(job)
    for relative in ("sqlite:///mlflow.db", "mlruns"):
        with pytest.raises(UserError, match=r"--tracking-uri: .* found .*_ray_pkg/"):
            check_output(build_config({"train.output": "/shared", "data.cache": "/shared"}), relative)


def test_without_an_address_a_script_starts_a_ray_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not join whatever was last started on the machine; Ray sets RAY_ADDRESS for a submitted job."""
    joined: list[str | None] = []
    monkeypatch.setattr(ray, "init", lambda address=None, **_: joined.append(address))
    monkeypatch.setattr(cluster_module, "check_answers", lambda _: None)
    for address in ("", "local", "auto"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        start_ray()
    assert joined == ["local", "local", None], "with RAY_ADDRESS, Ray itself reads it"


def test_a_machine_too_busy_for_ray_to_start_is_no_fault_of_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Ray's own words; any other error comes out as it is."""
    said = "The current node timed out during startup. This could happen because some of the raylet failed to startup"

    def fail(**_: object) -> None:
        raise Exception(said)

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(OutsideFaultError, match="Ray did not start on this machine within the 30 s"):
        start_ray()
    said = "something else"
    with pytest.raises(Exception, match=r"^something else$"):
        start_ray()


def test_what_a_configuration_reads_is_what_nodes_are_asked_for() -> None:
    config = build_config({"model.weights": "w.pth", "data.root": "data", "method.name": "source_only"})
    assert list_inputs(config) == {"data.root": "data", "model.weights": "w.pth"}
    assert list_inputs(build_config({})) == {}
    styled = build_config({"method.name": "drpc", "method.style_images": "paintings"})
    assert list_inputs(styled) == {"method.style_images": "paintings"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs, and two nodes of one CPU each."""
    with started_cluster(cpus=0, nodes=(1, 1)) as simulated:
        yield simulated


def start(output: Path, *flags: str, address: str = "", said: Path | None = None) -> warm.Popen:
    put_store_below(output)
    return warm.Popen(
        [sys.executable, SCRIPT, *few_images(), *SMALL, "--train.output", str(output), *flags],
        stdout=warm.PIPE if said is None else said.open("w"),
        stderr=warm.STDOUT,
        cwd=output.parent,
        env={**os.environ, "RAY_ADDRESS": address},
    )


def wait_until(process: warm.Popen, holds: Callable[[], bool]) -> None:
    """Look until something holds, as long as a process lives."""
    while not holds():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def ended(process: warm.Popen) -> str:
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def without_scores(events: list[Event]) -> list[Event]:
    return [dataclasses.replace(event, score=None) for event in events]


def scores(events: list[Event]) -> list[float]:
    return [event.score for event in events if event.score is not None]


def asked_for(cluster: Cluster) -> list[dict[str, float]] | None:
    """Return what a cluster was last asked to grow to, or None where nobody ever asked."""
    asked = ray._raylet.GcsClient(address=cluster.address).internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL, None)
    return None if asked is None else list(json.loads(asked))


@pytest.mark.slow
def test_what_cannot_fit_or_is_missing_is_refused_before_anything_starts(cluster: Cluster, tmp_path: Path) -> None:
    ray.init(address=cluster.address, log_to_driver=False)
    two, three = (build_config({"train.workers": n, "train.batch_size": 30}) for n in (2, 3))
    try:
        with pytest.raises(UserError, match=r"3 workers of 1 CPU, each on one node; the cluster's 3 nodes have"):
            Slots((two, three), asked=0, at_most=4).wait_and_check()
        with pytest.raises(UserError, match=r"--concurrency: 2 runs need 2 times 2 workers of 1 CPU"):
            Slots((two,), asked=2, at_most=4).wait_and_check()
        Slots((two,), asked=0, at_most=4).wait_and_check()
        assert Slots((two,), asked=0, at_most=4).count_now() == 1
        here = {"train.output": str(tmp_path)}
        check_nodes(build_config(here))
        with pytest.raises(UserError, match=r"--data\.root: node .* has no /nowhere"):
            check_nodes(build_config({**here, "data.root": "/nowhere"}))
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_search_survives_a_node_that_goes_while_another_comes_and_a_killed_driver(
    cluster: Cluster, tmp_path: Path
) -> None:
    """At concurrency 1 the same trials end with the same values, each once, as in one undisturbed process."""
    exact = ("--num-samples", "2", "--train.precision", "float64", "--data.source-images", "24")
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    beside = start(undisturbed, *exact, "--concurrency", "1")
    workers = (*exact, "--train.workers", "2")
    process = start(disturbed, *workers, address=cluster.address)
    wait_until(process, lambda: any(disturbed.glob("trained/*/record.json")))
    node: Any = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    cluster.remove_node(node)
    cluster.add_node(num_cpus=1)
    wait_until(process, lambda: reported(1)(what_happened(disturbed)))
    process.kill()
    process.communicate()
    said = ended(start(disturbed, *workers, address=cluster.address))
    ended(beside)
    mine, theirs = what_happened(disturbed), what_happened(undisturbed)
    assert without_scores(mine) == without_scores(theirs)
    assert scores(mine) == pytest.approx(scores(theirs), rel=1e-9)
    assert re.search(r"\d finished, \d stopped, 0 failed", said)


@pytest.mark.slow
def test_a_search_waits_for_nodes_that_start_or_come_back_and_uses_those_that_come_later(tmp_path: Path) -> None:
    output = tmp_path / "runs"
    with started_cluster(cpus=0) as cluster:
        flags = ("--num-samples", "8", "--train.wait-minutes", "2")
        said = tmp_path / "said"
        process = start(output, *flags, address=cluster.address, said=said)
        wait_until(process, lambda: asked_for(cluster) == [{"CPU": 1}])
        assert not any(output.glob("searches/*/*/journal.jsonl"))
        nodes = [cluster.add_node(num_cpus=1)]
        wait_until(process, lambda: any(output.glob("searches/*/*/journal.jsonl")) and bool(what_happened(output)))
        assert len(list_in_flight(what_happened(output))) == 1
        assert asked_for(cluster) == [], "a request that stays would keep the machines for ever"
        nodes.append(cluster.add_node(num_cpus=1))
        wait_until(process, lambda: len(list_in_flight(what_happened(output))) == 2)
        for node in nodes:
            cluster.remove_node(node)
        wait_until(process, lambda: "Waiting for machines: a run needs 1 worker of 1 CPU" in said.read_text())
        assert "room again" not in said.read_text()
        cluster.add_node(num_cpus=1)
        ended(process)
        assert "The cluster has room again: going on." in said.read_text()
        assert re.search(r"\d finished, \d stopped, 0 failed", said.read_text())
