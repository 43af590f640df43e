"""What a machine lacks is no configuration's fault: a full disk, a limit, memory; runs go on when it is mended."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowException

from csg import cli
from csg.commands import train as train_command
from csg.commands.script import run_script
from csg.config.settings import flatten
from csg.data.fault import BadImageError
from csg.data.pair import Pair
from csg.data.reading.decoding import read_bytes
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.messages.faults import LostProcessError, OutsideFaultError, find_outside_fault, is_process_fault
from csg.storage import files as storage
from csg.storage.disk import DiskPlace
from csg.storage.files import open_replacement
from csg.tracking.refusals import TrackingAwayError
from csg.training.checkpoint import load_state, save_state
from csg.training.program import get_program_digest
from csg.training.run import Run
from csg.training.step import NonFiniteLossError
from csg.workers import distributed
from csg.workers.launch_files import LaunchFiles
from tests import warm
from tests.csg.training.test_training import tiny
from tests.few_images import few_images
from tests.made_up_pair import made_up_pair
from tests.tune_spaces.search.test_search import ROOT
from tune_spaces.execution import trial
from tune_spaces.execution.trial import CONFIG_ID, EPOCH, FAILED, GONE, NUMBER, ROLE, SCORE, TrainingTrial, get_ending
from tune_spaces.search.journal import Event, Journal, list_in_flight
from tune_spaces.search.script import describe_failures

FULL = "No space left on device"


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, room: int = 0, number: int = errno.ENOSPC) -> Iterator[None]:
    """Let files that are written whole take ``room`` bytes, as on a disk that has no more."""

    class Small(storage._Written):
        def _refuse(self, data: Any) -> int:
            if self.tell() + memoryview(data).nbytes > room:
                raise OSError(number, os.strerror(number))
            return super(storage._Written, self).write(data)

        def write(self, data: Any, /) -> int:
            try:
                return self._refuse(data)
            except OSError as error:
                error.needed = self.tell() + memoryview(data).nbytes  # type: ignore[attr-defined]
                self.fault = error
                raise

    with monkeypatch.context() as full:
        full.setattr(storage, "_Written", Small)
        yield


def torch_save(path: Path) -> None:
    save_state(DiskPlace(path), {"weights": torch.zeros(100_000)})


def numpy_save(path: Path) -> None:
    with open_replacement(path) as file:
        np.savez(file, allow_pickle=False, images=np.zeros(100_000))


@pytest.mark.parametrize("save", [torch_save, numpy_save])
@pytest.mark.parametrize("room", [0, 600, 100_000, 400_500])
def test_a_full_disk_is_named_whatever_library_writes(
    save: Callable[[Path], None], room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's writer has words of its own for it ("unexpected pos ..."); also in the last bytes."""
    path = tmp_path / "state"
    path.write_bytes(b"before")
    with full_disk(monkeypatch, room), pytest.raises(OSError, match=FULL) as raised:
        save(path)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    fault = find_outside_fault(raised.value)
    assert fault is not None
    said = str(fault)
    assert said.startswith(f"{FULL}: {path} (") and "MB are free on its disk, more than " in said
    assert said.endswith("; free some space there")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes; Python has such writes raise, and not end the process."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def test_a_file_that_really_cannot_grow_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "checkpoint.pt"
    with largest_file(100_000), pytest.raises(OSError, match="File too large") as raised:
        save_state(DiskPlace(path), {"weights": torch.zeros(100_000)})
    said = f"File too large: {path}; raise the limit on the size of files (ulimit -f)"
    assert str(find_outside_fault(raised.value)) == said
    assert capfd.readouterr() == ("", "") and list(tmp_path.iterdir()) == []


def raised(error: BaseException, cause: BaseException, *, chained: bool = True) -> BaseException:
    """Return ``error`` as it is when it was raised while ``cause`` was handled."""
    try:
        try:
            raise cause
        except type(cause) as first:
            raise error from (first if chained else None)
    except BaseException as caught:
        return caught


def lacking(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/there/file")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (lacking(errno.ESTALE), "Stale file handle: /there/file; mend that"),
        (lacking(errno.EROFS), "Read-only file system: /there/file; have it mounted for writing"),
        (lacking(errno.EDQUOT), "Disk quota exceeded: /there/file ("),
        (lacking(errno.EMFILE), "Too many open files: /there/file; raise the limit on open files"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/there"), "No such file: /there"),
        (raised(UserError("data.cache"), lacking(errno.EACCES)), "/there/file; give this user the right to it"),
        (RuntimeError("unable to write to file </torch_1>: No space left on device (28)"), "unable to write to file"),
        (OutsideFaultError("said"), "said"),
        (raised(ValueError("x"), lacking(errno.ENOENT)), None),
        (raised(UserError("x"), lacking(errno.EACCES), chained=False), None),
        (RuntimeError("what is not the system's (28)"), None),
        (RuntimeError("[peer]: Connection reset by peer (104)"), None),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), None),
        (NonFiniteLossError("loss"), None),
    ],
)
def test_what_the_machine_lacks_is_told_from_what_is_wrong(error: BaseException, said: str | None) -> None:
    found = find_outside_fault(error)
    assert (found is None) if said is None else (found is not None and said in str(found)), found


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Process 12 has 70 GiB in use"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
        LostProcessError("the workers died 3 times"),
        raised(UserError("data.workers: ..."), RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed.")),
    ],
)
def test_memory_that_ran_out_is_worth_another_process(error: BaseException) -> None:
    assert is_process_fault(error) and find_outside_fault(error) is None
    assert not is_process_fault(NonFiniteLossError("loss"))


def started(config: Any) -> TrainingTrial:
    begun = TrainingTrial.__new__(TrainingTrial)
    begun.setup({NUMBER: 0, ROLE: "suggested"}, base=flatten(config), program=get_program_digest(), data={})
    return begun


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    """The pair that trials load."""
    made = made_up_pair()
    monkeypatch.setattr(trial, "load_pair", lambda _: made)
    return made


def test_a_trial_on_a_full_disk_did_not_fail_and_goes_on_where_it_was(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path)
    first = started(config)
    told = first.step()
    with full_disk(monkeypatch, 50_000):
        ended = first.step()
        assert first.reset_config({}), "the process may be given another trial"
    assert ended == {EPOCH: 1, GONE: ended[GONE], "done": True} and get_ending(ended, 2) is None
    assert FULL in ended[GONE] and str(tmp_path) in ended[GONE]
    assert Run(config, pair).record.status == "running"
    second = started(config)
    again = [second.step(), second.step()]
    assert again[0][SCORE] == told[SCORE] and again[1][EPOCH] == 2
    assert Run(config, pair).record.status == "finished"


@pytest.mark.usefixtures("pair")
def test_a_trial_whose_folder_cannot_even_be_made_did_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise lacking(errno.ENOSPC)

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert FULL in started(tiny(tmp_path)).step()[GONE]


def epochs_that_raise(error: Exception) -> Callable[[Run], Iterator[Any]]:
    def epochs(*_: object) -> Iterator[Any]:
        raise error
        yield

    return epochs


def test_a_trials_own_failure_is_one_and_a_process_without_memory_ends(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "train", epochs_that_raise(MemoryError()))
    with pytest.raises(MemoryError):
        started(tiny(tmp_path)).step()
    assert Run(tiny(tmp_path), pair).record.status == "running", "Tune starts another process"
    monkeypatch.setattr(Run, "train", epochs_that_raise(NonFiniteLossError("loss at step 3")))
    assert "loss at step 3" in started(tiny(tmp_path)).step()[FAILED]
    assert Run(tiny(tmp_path), pair).record.status == "failed"


def test_a_node_with_other_data_than_the_driver_ends_the_search_and_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise UserError("data.source: expected a folder, found nothing")

    begun = started(tiny(tmp_path))
    begun._data = {0: "the driver's"}
    monkeypatch.setattr(trial, "load_pair", lambda _: made_up_pair())
    assert "has other data than the driver" in begun.step()[GONE]
    begun._data, begun._trial_config = {0: made_up_pair().fingerprint}, {NUMBER: 0, CONFIG_ID: "the driver's"}
    assert "other weights, another method file" in begun.step()[GONE]
    begun._trial_config = {NUMBER: 0, "method.path": "/nowhere.py:Method"}
    assert "method.path: " in (said := begun.step()[GONE]) and said.endswith("; mend that")
    begun._trial_config = {NUMBER: 0}
    monkeypatch.setattr(trial, "load_pair", refuse)
    assert "expected a folder, found nothing; mend that" in begun.step()[GONE]


def test_a_training_on_a_full_disk_ends_with_one_line_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tiny(tmp_path), made_up_pair()).create()
    monkeypatch.setattr(train_command, "open_run", lambda *_: run)
    command = ["train", "--tracking-uri", "none", *("--train.output", str(tmp_path))]
    with full_disk(monkeypatch, 50_000):
        assert cli.main(command) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"error: {FULL}: {run.selected} (") and said.count("\n") == 1
    assert run.record.status == "running"
    assert cli.main(command) == 0
    assert Run(run.config, run.pair).record.status == "finished"


def test_a_worker_on_a_full_disk_says_so_even_where_its_word_finds_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, config = made_up_pair(), tiny(tmp_path)
    run = Run(config, pair).create()
    monkeypatch.setattr(distributed, "load_pair", lambda _: pair)
    launch = {"settings": flatten(config), "launch": "one", "run": run.identity.name}
    LaunchFiles(run.folder, "one").wanted.local.touch()
    driver = distributed.Launch(run)
    driver._files = LaunchFiles(run.folder, "one")
    for room in (0, 50_000):
        with full_disk(monkeypatch, room), pytest.raises(OutsideFaultError, match=FULL) as raised:
            distributed.work(launch)
        assert driver._files.error.exists() == (room > 0)
        driver.failure = f"UserExceptionWithTraceback: csg.messages.faults.OutsideFaultError: {raised.value}"
        with pytest.raises(OutsideFaultError, match=f"^{FULL}"):
            driver.raise_error()


def test_a_journal_on_a_full_disk_ends_with_its_last_whole_event(tmp_path: Path) -> None:
    """Nothing is appended after an event that is missing: it would make no sense."""
    path = tmp_path / "journal.jsonl"
    journal, refused = Journal(DiskPlace(path)), []
    for trial_number in range(4):
        with largest_file(150 if trial_number < 3 else 10_000):
            try:
                journal.append(Event("suggested", trial_number))
            except OSError as error:
                refused.append(error.filename)
    later = Journal(DiskPlace(path))
    whole = later.read_events()
    assert 1 <= len(whole) < 3 and refused == [str(path)] * (4 - len(whole))
    assert len(path.read_text().splitlines()) == len(whole), "no torn line, to which another would be appended"
    later.append(Event("suggested", len(whole)))
    assert list_in_flight(later.read_events()) == list(range(len(whole) + 1))


def test_too_many_open_files_are_no_damaged_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"content")
    for number, kind in ((errno.EMFILE, OSError), (errno.ESTALE, OSError), (errno.EIO, BadImageError)):

        def refuse(_: Path, number: int = number) -> bytes:
            raise lacking(number)

        monkeypatch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(kind, match=os.strerror(number)):
            read_bytes(image)


def test_a_checkpoint_on_a_disk_that_cannot_be_read_is_still_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_state(DiskPlace(path), {"a": 1})

    def refuse(*_: object, **__: object) -> None:
        raise lacking(errno.EIO)

    with monkeypatch.context() as away:
        away.setattr(torch, "load", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            load_state(DiskPlace(path))
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="is not a checkpoint"):
        load_state(DiskPlace(path))


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (lacking(errno.EROFS), 3, "error: Read-only file system: /there/file; have it mounted for writing"),
        (OutsideFaultError("the disk is full"), 3, "error: the disk is full"),
        (TrackingAwayError("x"), 3, "error: the MLflow store does not answer as it should (x)"),
        (MlflowException("refused\nhere"), 3, "error: the MLflow store does not answer as it should (refused)"),
        (RunsFailedError("2 of 3 runs failed"), 1, "error: 2 of 3 runs failed\n"),
    ],
)
def test_scripts_end_with_one_line_and_a_code_of_its_kind(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(console: Console) -> bool:
        raise error

    for resumes in (False, True):
        assert run_script(body, resumes=resumes) == code
        found = capsys.readouterr().err
        assert found.startswith(said) and found.count("\n") == 1
        assert ("; nothing is lost: the same command " in found) == (resumes and code == 3)


def test_a_search_in_which_trials_failed_says_so_at_its_end(tmp_path: Path) -> None:
    journal = Journal(DiskPlace(tmp_path / "journal.jsonl"))
    search: Any = SimpleNamespace(journal=journal, options=SimpleNamespace(num_samples=12))
    for number, decision in enumerate(("finished", "stopped")):
        journal.append(Event("suggested", number))
        journal.append(Event("ended", number, decision=decision))
    assert describe_failures(search, lost=0) == ""
    journal.append(Event("suggested", 2))
    assert describe_failures(search, lost=1) == "of 12 trials, 1 lost its process, which the same command tries again"
    journal.append(Event("ended", 2, decision="failed"))
    journal.append(Event("exhausted", 3))
    own = "of 3 trials, 1 failed, for reasons of its configuration, which is not tried again"
    assert describe_failures(search, lost=0) == own
    assert describe_failures(search, lost=2) == f"{own} and 2 lost their processes, which the same command tries again"


SEARCH = [
    *("--data.source-images", "24", "--train.epochs", "1", "--train.batch-size", "8"),
    *("--num-samples", "2", "--concurrency", "1", "--optim.warmup-steps", "0", "--train.threads", "1"),
    *("--train.checkpoint-minutes", "0", "--space", "contrast"),
]


@pytest.mark.slow
def test_a_search_on_a_disk_that_fills_up_goes_on_when_it_has_room(tmp_path: Path) -> None:
    output = tmp_path / "disk"
    output.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(output)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk takes the right to mount one: {mounted.stderr.strip()}")
    command = [sys.executable, str(ROOT / "tune_spaces" / "visda_search.py"), *few_images(), *SEARCH]
    command += ["--train.output", str(output)]
    try:
        full = warm.run(command, cwd=tmp_path)
        assert full.returncode == 3, full.stdout + full.stderr
        assert FULL in full.stderr and "the same command goes on where it was" in full.stderr
        assert full.stderr.count("\n") == 1, full.stderr
        (path,) = output.rglob("journal.jsonl")
        assert list_in_flight(Journal(DiskPlace(path)).read_events()) == [0]
        subprocess.run(["mount", "-o", "remount,size=300m", str(output)], check=True)
        again = warm.run([*command, "--resume"], cwd=tmp_path)
        assert again.returncode == 0, again.stdout + again.stderr
        statuses = {json.loads(record.read_text())["status"] for record in output.rglob("record.json")}
        assert statuses == {"finished"} and list_in_flight(Journal(DiskPlace(path)).read_events()) == []
        subprocess.run(["umount", "-l", str(output)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(output)], capture_output=True, check=False)
