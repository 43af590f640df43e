"""Options and settings that all tests share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import hypothesis
import pytest
import torch

from tests.buckets import bucket_server, move_to

LONGEST: Final = (
    *("test_cluster", "test_search", "test_ray_train", "test_job", "test_held_out_source", "test_faults"),
    *("test_examples", "test_distributed", "test_external_method", "test_ablation", "test_unlabelled"),
    *("test_cluster_health", "test_handwriting", "test_object_store", "test_stores_and_machines"),
    *("test_transformers_encoder", "test_export", "test_on_gpu", "test_pages"),
)
"""Files whose tests take minutes, the longest first: where several processes share the files, none ends long after."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        type=lambda text: Path(text).absolute(),  # tests run in folders of their own
        default=Path(__file__).parent / "golden",
        help="folder with cases.json and one NAME.npz a case (default: the project's own copy)",
    )
    parser.addoption(
        "--every-encoder", action="store_true", help="test every family of transformers' networks, not a few of them"
    )


def pytest_configure() -> None:
    """Let processes that tests start be interrupted, also where a shell started the tests in its background.

    Nor does an example of hypothesis fail because a busy machine was slow.
    """
    too_slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("no deadline", deadline=None, suppress_health_check=too_slow)
    hypothesis.settings.load_profile("no deadline")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; all others stay in their order."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish() -> None:
    """Let no search for garbage look again at what was imported and collected: all of it stays."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _fixed_threads() -> None:
    """Thread counts change low bits."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test leaves in the current folder, no other one finds or imports."""
    monkeypatch.chdir(tmp_path)
    searched, imported = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = searched
    for name in set(sys.modules) - imported:  # of thousands, those of this test
        module = sys.modules[name]
        file = module.__dict__.get("__file__") if isinstance(module, ModuleType) else None
        if file is not None and file.startswith(f"{tmp_path}{os.sep}"):
            del sys.modules[name]


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The end of an address ``s3://bucket/prefix`` whose store runs on this machine."""
    with bucket_server() as end:
        yield end


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[str]:
    """The address of a Ray cluster of two CPUs, which the tests of a file share that do not start or end one."""
    from tests.simulated_cluster import started_cluster

    with started_cluster(cpus=2) as cluster:
        yield str(cluster.address)


@pytest.fixture
def in_cluster(shared_cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whatever a test starts join that cluster."""
    monkeypatch.setenv("RAY_ADDRESS", shared_cluster)


@pytest.fixture
def first_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a home of its own; :func:`tests.buckets.move_to` goes on to others."""
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    move_to(tmp_path / "first")
