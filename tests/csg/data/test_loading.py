"""Worker processes change who computes, never what; they end with the process that they work for."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from csg.config import DataConfig
from csg.data import load_pair
from csg.data.fault import BadImageError
from csg.data.pair import SOURCE_TRAIN
from csg.data.reading.loading import admit, map_in_order
from csg.data.views.augmentation import Views, draw_views
from csg.messages.errors import UserError
from tests.published_trees import write_visda17


@pytest.mark.parametrize("augmentation", ["randaugment", "pasta", "none"])
def test_batches_are_the_same_bit_for_bit_with_any_number_of_processes(tmp_path: Path, augmentation: str) -> None:
    root = write_visda17(tmp_path)
    next((root / "train").rglob("*.png")).write_bytes(b"")
    config = DataConfig(name="visda17", root=str(root), image_size=32, augmentation=augmentation)  # type: ignore[arg-type]
    stream = load_pair(config).streams[SOURCE_TRAIN]

    def views(step: int) -> Views:
        indices = torch.arange(4 * step, 4 * step + 4)
        return draw_views(stream, indices, config=config, seed=0, epoch=1, two_views=True)

    state = torch.get_rng_state()
    batches = {workers: list(map_in_order(views, range(2, 9), workers=workers)) for workers in (0, 1, 2, 3)}
    assert torch.equal(torch.get_rng_state(), state)
    for workers in (1, 2, 3):
        for one, other in zip(batches[0], batches[workers], strict=True):
            assert torch.equal(one.query, other.query) and torch.equal(one.indices, other.indices)
            assert (one.key is None) == (other.key is None) == (augmentation == "none")
            assert one.key is None or (other.key is not None and torch.equal(one.key, other.key))
            assert [str(error) for error in one.bad] == [str(error) for error in other.bad]


def test_a_bad_image_is_an_error_with_advice_or_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    bad = [BadImageError("a.png", "found an empty file"), BadImageError("b.png\n\x1b[2J", "found no such file")]
    with pytest.raises(
        BadImageError, match=r"a\.png: expected an image, found an empty file; .*--data\.on-bad-image skip"
    ):
        admit(bad, DataConfig())
    assert admit(bad, DataConfig(on_bad_image="skip")) == 2
    assert admit(bad, DataConfig(on_bad_image="skip")) == 2
    assert admit([], DataConfig()) == 0
    assert [record.getMessage().split(":")[1].strip() for record in caplog.records] == ["a.png", "b.png\\n\\x1b[2J"]


def test_a_killed_worker_is_a_clear_error() -> None:
    def make(place: int) -> int:
        if place == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return place

    with pytest.raises(UserError, match=r"data\.workers: a process that decodes images ended .*fewer data\.workers"):
        list(map_in_order(make, range(8), workers=2))


def test_an_error_of_the_program_itself_is_not_hidden() -> None:
    def make(place: int) -> int:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(map_in_order(make, range(8), workers=1))
    assert not multiprocessing.active_children(), "though the error, which is held, was raised among them"


def test_no_process_outlives_ctrl_c() -> None:
    def make(place: int) -> int:
        if place == 3:
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(0.1)
        return place

    with pytest.raises(KeyboardInterrupt) as raised:
        list(map_in_order(make, range(8), workers=1))
    assert not multiprocessing.active_children(), f"though {raised} is held"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files", "/there/a.png"),
        UserError("data.source: expected something else"),
        BadImageError("a.png", "found an empty file"),
        MemoryError("of 8 GB"),
    ],
)
def test_an_error_out_of_a_worker_is_the_one_that_was_raised_there(error: Exception) -> None:
    def make(place: int) -> int:
        if place == 2:
            raise error
        return place

    results = map_in_order(make, range(8), workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(type(error)) as raised:
        next(results)
    assert str(raised.value) == str(error) and vars(raised.value) == vars(error)
    assert getattr(raised.value, "errno", None) == getattr(error, "errno", None)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_workers_end_with_the_iterator() -> None:
    results = map_in_order(lambda _: os.getpid(), range(100), workers=2)
    workers = {next(results) for _ in range(4)}
    assert len(workers) == 2 and os.getpid() not in workers
    results.close()  # type: ignore[attr-defined]
    assert not any(_is_running(process) for process in workers)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed() -> None:
    program = """
        import os, time
        from csg.data.reading.loading import map_in_order

        def make(place):
            time.sleep(3600 if place > 1 else 0)
            return os.getpid()

        results = map_in_order(make, range(10), workers=2)
        print(next(results), next(results), flush=True)
        next(results)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(number) for number in parent.stdout.readline().split()]
    assert len(workers) == 2 and all(_is_running(process) for process in workers)
    parent.kill()
    parent.wait()
    while any(_is_running(process) for process in workers):  # forever, if they do not: the test's own limit ends it
        time.sleep(0.1)
    parent.stdout.close()


def _is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
