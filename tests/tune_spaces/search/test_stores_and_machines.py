"""What is under way when a bucket goes away, or when another machine is at the same: nothing done is lost."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import tune

from csg.commands.script import run_script
from csg.config.settings import flatten
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.parsing import build_config, parse_flags, read_yaml, to_yaml
from csg.storage import bucket
from csg.storage.bucket import BucketGoneError, BucketPlace
from csg.storage.layout import place_at, place_to_read
from csg.training.checkpoint import load_state, save_state
from csg.training.program import get_program_digest
from csg.training.run import Run
from csg.workers import distributed
from csg.workers.run import train_run
from tests.buckets import move_to
from tests.csg.training.test_training import outcome, tiny
from tests.made_up_pair import made_up_pair
from tests.simulated_cluster import started_cluster
from tune_spaces.execution import trial
from tune_spaces.execution.callbacks import DriverCallback
from tune_spaces.execution.recorder import MlflowRecorder, Progress
from tune_spaces.execution.trial import EPOCH, GONE, NUMBER, ROLE, SCORE, SECONDS, TrainingTrial, get_ending
from tune_spaces.execution.tuning import run_trials
from tune_spaces.search.journal import Event, Journal, count_unfinished, list_in_flight
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import plan_search
from tune_spaces.search.scheduler import JournaledASHA, Rungs
from tune_spaces.search.searcher import JournaledOptunaSearch

pytestmark = pytest.mark.usefixtures("first_machine")


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


def test_a_store_that_is_away_for_a_moment_is_asked_again_and_one_that_stays_away_is_named(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = BucketPlace(address) / "record.json"
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    answers: Iterator[BaseException | None] = iter([OSError("away"), OSError("away"), None])

    def ask(filesystem: object, key: str) -> str:
        if (error := next(answers)) is not None:
            raise error
        return "here"

    assert place._ask(ask) == "here" and slept == [1.0, 2.0]
    monkeypatch.setattr(bucket, "PATIENCE_SECONDS", -1.0)
    answers = itertools.repeat(OSError("away\nfor good"))
    gone = rf"{address} does not answer any more \(OSError: away\); try again"
    with pytest.raises(BucketGoneError, match=gone):
        place._ask(ask)


def test_a_store_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(bucket, "_connect", lambda address: release.wait())
    monkeypatch.setattr(bucket, "REACH_SECONDS", 0.05)
    with pytest.raises(UserError, match=r"train\.output: cannot write to s3://deaf \(no answer within"):
        place_at("s3://deaf").reach("train.output", writing=True)
    release.set()


@contextmanager
def store_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have every bucket refuse, and nobody wait for it."""

    def refuse(address: str) -> None:
        raise OSError("away")

    with monkeypatch.context() as away:
        away.setattr(bucket, "PATIENCE_SECONDS", -1.0)
        away.setattr(bucket, "_connect", refuse)
        yield


def test_a_trial_whose_store_goes_away_is_in_flight_and_goes_on_where_it_was(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = made_up_pair()
    monkeypatch.setattr(trial, "load_pair", lambda _: pair)
    config = tiny(address)  # type: ignore[arg-type]

    def started() -> TrainingTrial:
        begun = TrainingTrial.__new__(TrainingTrial)
        begun.setup({NUMBER: 0, ROLE: "suggested"}, base=flatten(config), program=get_program_digest(), data={})
        return begun

    first = started()
    told = first.step()
    with store_away(monkeypatch):
        gone = first.step()
        assert first.reset_config({}), "the process may be given another trial"
    assert gone == {EPOCH: 1, GONE: gone[GONE], "done": True} and get_ending(gone, 2) is None
    assert "does not answer any more (OSError: away)" in gone[GONE]
    assert Run(config, pair).record.status == "running"
    second = started()
    again = [second.step(), second.step()]
    assert again[0][SCORE] == told[SCORE] and again[1][EPOCH] == 2
    assert Run(config, pair).record.status == "finished"


def test_a_store_that_is_away_ends_a_script_with_a_line_and_a_code_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def body(console: Console) -> bool:
        raise BucketGoneError("s3://bucket does not answer any more")

    assert run_script(body) == 3
    assert capsys.readouterr().err == "error: s3://bucket does not answer any more\n"


class Trial(tune.Trainable):  # type: ignore[misc]
    """Trains nothing; at the first epoch of trial 0, something happens."""

    def setup(self, config: dict[str, Any], *, base: dict[str, Any], program: str, data: dict[int, str]) -> None:
        self._output = base["train.output"]
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._number, self._epoch = new_config[NUMBER], 0
        return True

    def step(self) -> dict[str, Any]:
        self._epoch += 1
        if self._number == 0 and (told := self.happens()):
            return told
        return {EPOCH: self._epoch, SCORE: 0.1 * self._epoch, SECONDS: 0.0}

    def happens(self) -> dict[str, Any]:
        return {}


class TrialWithoutStore(Trial):
    def happens(self) -> dict[str, Any]:
        return {EPOCH: 0, GONE: "train.output: the store does not answer any more", "done": True}


class TrialBesideAnotherDriver(Trial):
    def happens(self) -> dict[str, Any]:
        the_journal(self._output).append(Event("ended", 7, decision="finished"))
        return {}


class TrialWithoutMemory(Trial):
    def happens(self) -> dict[str, Any]:
        raise MemoryError("not enough for the queue")


class KillBetweenTrials(DriverCallback):
    """Kills the process of a trial that has ended, which is kept for the next one."""

    def __init__(self) -> None:
        self.restarted: set[int] = set()

    def on_trial_complete(self, *, trial: Any, **info: Any) -> None:
        if trial.config[NUMBER] == 1:
            os.kill(trial.last_result["pid"], signal.SIGKILL)

    def on_trial_recover(self, *, trial: Any, **info: Any) -> None:
        self.restarted.add(trial.config[NUMBER])


class Recorder(MlflowRecorder):
    """Keeps what it would write."""

    def __init__(self) -> None:
        config = SimpleNamespace(train=SimpleNamespace(epochs=2))
        run: Any = SimpleNamespace(close=lambda *_: None, reread=lambda: None, config=config)
        entry: Any = SimpleNamespace(run=run)
        super().__init__(SimpleNamespace(), parent="", find_entry=lambda _: entry)  # type: ignore[arg-type]
        self.said: list[tuple[int, str, str]] = []

    def _record(self, number: int, progress: Progress) -> None:
        self.said.append((number, progress.status, progress.error))


def one_slot() -> int:
    return 1


def the_journal(output: str) -> Journal:
    above = place_at(output) / "searches" / "glyphs"
    return Journal(above / above.list_names()[0] / "journal.jsonl")


@pytest.mark.slow
def test_what_goes_wrong_inside_tune_comes_out_as_it_was_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).parents[3])  # where the trials' processes find this file
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", root)
    argv = ["--num-samples", "3", "--train.output", address, "--train.epochs", "2", "--model.weights", "none"]
    search = plan_search(parse_flags(SearchOptions, argv, prog="search", description=""), Console())
    search.folder.make_folder("--train.output")

    def run(trials: type[Trial], *callbacks: Any) -> None:
        journal = Journal(search.folder / "journal.jsonl")
        searcher = JournaledOptunaSearch(
            search.space,
            fixed=search.base,
            references=(),
            journal=journal,
            trials=3,
            rungs=Rungs(2),
            seed=0,
            slots=one_slot,
        )
        run_trials(
            trials,
            searcher,
            JournaledASHA(journal, Rungs(2)),
            callbacks,
            count=count_unfinished(journal.read_events(), 3),
            folder=search.folder.local,
            base=search.base,
            fingerprints={},
        )

    with started_cluster(cpus=2) as cluster:
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            with pytest.raises(OutsideFaultError, match=r"^train\.output: the store does not answer any more$"):
                run(TrialWithoutStore)
            assert list_in_flight(the_journal(address).read_events()) == [0]
            recorder = Recorder()
            killing = KillBetweenTrials()
            run(TrialWithoutMemory, recorder, killing)
            assert killing.restarted == {0, 2}, "the third was given the process that was killed"
            said = "the trial's process died (MemoryError: not enough for the queue)"
            assert recorder.lost == {0: said} and (0, "failed", said) in recorder.said
            assert list_in_flight(the_journal(address).read_events()) == [0], "and the search went on with the others"
            assert sum(event.kind == "ended" for event in the_journal(address).read_events()) == 2
            with pytest.raises(UserError, match=r"^another driver has written to"):
                run(TrialBesideAnotherDriver)
            assert list_in_flight(the_journal(address).read_events()) == [0]
        finally:
            ray.shutdown()


@pytest.mark.parametrize("epoch", ["last", "best"])
def test_a_slower_machine_leaves_a_finished_run_as_it_is(epoch: str, address: str, tmp_path: Path) -> None:
    pair, config = made_up_pair(), tiny(address, train__epochs=3, selection__epoch=epoch)  # type: ignore[arg-type]

    def kept(run: Run) -> dict[str, bytes]:
        return {name: (run.folder / name).open().read() for name in run.folder.list_names()}

    slow = Run(config, pair)
    reports = slow.train()
    next(reports)
    move_to(tmp_path / "second")
    quick = Run(config, pair)
    outcome(quick)
    before = kept(quick)
    assert "checkpoint.pt" not in before
    move_to(tmp_path / "first")
    assert [report.metrics for report in reports] == quick.record.epochs[1:]
    slow.close("interrupted")
    assert kept(quick_again := Run(config, pair)) == before
    assert quick_again.record.status == "finished"
    assert slow.finish() == quick.record.final


def test_what_is_only_read_takes_no_right_to_write(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = build_config({"train.seed": 7})
    with (place_at(address) / "a.yaml").open_replacement() as file:
        file.write(to_yaml(config).encode())
    save_state(place_at(address) / "a.pt", {"a": 1})

    def refuse(*_: object) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(bucket, "_make_folder_of", refuse)
    assert read_yaml(place_to_read(f"{address}/a.yaml", "--config"))["train.seed"] == 7
    assert load_state(place_to_read(f"{address}/a.pt", "--checkpoint")) == {"a": 1}
    place_at(address).reach("train.output", writing=False)
    with pytest.raises(UserError, match=r"train\.output: cannot write to .* \(PermissionError: read only\)"):
        place_at(address).reach("train.output", writing=True)


def test_workers_that_wait_for_machines_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    run = Run(tiny(tmp_path, train__workers=2), made_up_pair()).create()

    class Starting:
        """Workers that never start."""

        failure = "none came"

        def __init__(self, _: Run) -> None:
            self.thread = SimpleNamespace(is_alive=lambda: not said)

        def start(self) -> None: ...
        def raise_error(self) -> None: ...
        def stop(self) -> None: ...

    monkeypatch.setattr(distributed, "Launch", Starting)
    monkeypatch.setattr(distributed, "_join_cluster", lambda _: None)
    monkeypatch.setattr("csg.workers.slots.list_nodes", lambda: [{"CPU": 1.0}])
    with pytest.raises(RuntimeError, match="the workers died 3 times"):
        list(train_run(run, on_wait=said.append))
    assert len(said) == 1
    assert said[0].startswith("Waiting for machines: a run needs 2 workers of 1 CPU, each on one node; the cluster's 1")
