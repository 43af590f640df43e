"""Results in a bucket: what is there is whole, and another machine needs nothing else."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch
from pyarrow import fs

from csg.cli import main
from csg.commands.train import TrainOptions
from csg.config import Config
from csg.data.reading.cache import get_cache_folder
from csg.messages.errors import UserError
from csg.parsing import build_config, parse_flags, with_absolute_paths
from csg.storage.disk import DiskPlace
from csg.storage.files import LEFTOVER_SECONDS
from csg.storage.layout import place_at, place_to_read
from csg.storage.place import Place
from csg.training.checkpoint import load_state
from csg.training.record import read_record
from csg.training.run import Run
from csg.training.selected import load_selected
from csg.workers import launch_files
from csg.workers.cluster import check_output
from csg.workers.launch_files import Unwanted
from tests import warm
from tests.buckets import move_to
from tests.csg.storage.test_place import read, write
from tests.csg.training.test_training import assert_equal_outcomes, outcome, tiny
from tests.few_images import few_images
from tests.made_up_pair import made_up_pair
from tune_spaces.search.journal import Event, Journal

FLAGS = [
    *("--data.source-images", "40", "--train.epochs", "2", "--train.batch-size", "8"),
    *("--method.queue-size", "50", "--train.checkpoint-minutes", "0", "--train.threads", "1"),
]


pytestmark = pytest.mark.usefixtures("first_machine")


_PREFIXES = (f"test{number}" for number in itertools.count())


@pytest.fixture(params=["s3", "file"])
def address(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> str:
    """An address where nothing is yet: of a store whose writes are atomic, and of one that has to move files."""
    return f"s3://bucket/{next(_PREFIXES)}{bucket}" if request.param == "s3" else f"file://{tmp_path}/store"


def test_an_address_means_the_same_on_every_machine(address: str, tmp_path: Path) -> None:
    place = place_at(address) / "a" / "best.yaml"
    write(place, "text")
    named = str(place)
    assert named == address.replace("?", "/a/best.yaml?") if "?" in address else named == f"{address}/a/best.yaml"
    move_to(tmp_path / "second")
    assert read(place_to_read(named, "--config")) == read(pickle.loads(pickle.dumps(place))) == "text"


def test_nothing_of_a_run_stays_on_the_machine_and_another_one_finds_it(address: str, tmp_path: Path) -> None:
    pair = made_up_pair()
    in_store = outcome(run := Run(tiny(address), pair))  # type: ignore[arg-type]
    assert_equal_outcomes(in_store, outcome(on_disk := Run(tiny(tmp_path / "disk"), pair)))
    assert {path.name for path in run.folder.local.iterdir()} == {".lock"}
    assert [".lock", *run.folder.list_names()] == on_disk.folder.list_names()
    move_to(tmp_path / "second")
    found = Run(tiny(address), pair)  # type: ignore[arg-type]
    assert found.record.status == "finished" and found.record.megabytes > 0.01
    assert_equal_outcomes(outcome(found), in_store)
    weights = load_selected(place_to_read(str(found.selected), "--checkpoint"))
    assert weights.classes == pair.classes and weights.state.keys() == in_store[2].keys()


def test_a_run_goes_on_on_another_machine_from_its_last_step(address: str, tmp_path: Path) -> None:
    pair = made_up_pair()
    whole = outcome(Run(tiny(tmp_path / "disk"), pair))

    def leave(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    config = tiny(address, train__checkpoint_minutes=0.0)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        list(Run(config, pair).train(leave))
    move_to(tmp_path / "second")
    done: list[int] = []
    run = Run(config, pair)
    assert len(list(run.train(lambda step, total: done.append(step)))) == 2
    assert done == [8, 9, 10], "the first machine did seven of ten"
    assert_equal_outcomes(outcome(run), whole)


def test_an_upload_that_breaks_off_leaves_the_old_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place_at(f"file://{tmp_path}/store")
    record = folder / "record.json"
    write(record, "old")

    def half(source: str, destination: str, *filesystems: object, use_threads: bool) -> None:
        Path(destination).write_text(Path(source).read_text()[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(fs, "copy_files", half)
    with pytest.raises(KeyboardInterrupt):
        write(record, "new")
    assert read(record) == "old" and len(folder.list_names()) == 2
    record.remove_leftovers()
    assert len(folder.list_names()) == 2, "another machine may be writing it"
    (left,) = (tmp_path / "store").glob(".record.json.*")
    os.utime(left, (0, time.time() - LEFTOVER_SECONDS - 1))
    record.remove_leftovers()
    assert folder.list_names() == ["record.json"]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://host/runs", "Unrecognized filesystem type"),
        ("s3://nowhere/runs{end}", "NO_SUCH_BUCKET"),
        ("s3://bucket/runs?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1", "NETWORK_CONNECTION"),
        ("s3://bucket/runs?regoin=us-east-1", "Unexpected query parameter"),
        ("s3://id:secret@bucket/runs", "expected no key in the address"),
        ("s3://", "expected a path or an address such as"),
        ("file:///proc/nowhere", "Cannot create directory"),
    ],
)
def test_what_cannot_be_written_to_is_refused_before_anything_starts(address: str, reason: str, bucket: str) -> None:
    with pytest.raises(UserError, match=rf"train\.output: .*{reason}"):
        place_at(address.format(end=bucket)).reach("train.output", writing=True)


def test_without_pyarrow_paths_work_and_addresses_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "pyarrow.fs"):
        monkeypatch.setitem(sys.modules, name, None)
    write(place_at(str(tmp_path)) / "file", "text")
    with pytest.raises(UserError, match=r"train\.output: s3://bucket/runs is an address, which takes pyarrow"):
        place_at("s3://bucket/runs").reach("train.output", writing=True)


def test_only_the_output_may_be_an_address() -> None:
    given = {"train.output": "s3://bucket/runs/", "data.cache": "/cache"}
    assert with_absolute_paths(build_config(given)).train.output == "s3://bucket/runs"
    with pytest.raises(UserError, match=r"data\.cache: expected a path, found the address s3://x"):
        with_absolute_paths(build_config({"data.cache": "s3://x"}))


def test_beside_an_address_every_machine_has_a_cache_of_its_own(tmp_path: Path) -> None:
    def flagged(*flags: str) -> Config:
        return parse_flags(TrainOptions, ["--train.output", "s3://bucket/runs", *flags], prog="", description="").config

    config = flagged()
    first = get_cache_folder(config.data)
    move_to(tmp_path / "second")
    assert get_cache_folder(config.data) == tmp_path / "second" / "csg-ablation" / "data" != first
    assert get_cache_folder(flagged("--data.cache", "/cache").data) == Path("/cache")
    check_output(config)


def test_a_journal_is_whole_in_the_store_after_every_event_and_has_one_driver(address: str, tmp_path: Path) -> None:
    def journal() -> Journal:
        return Journal(place_at(address) / "searches" / "journal.jsonl")

    first = journal()
    assert first.read_events() == []
    for trial in range(3):
        first.append(Event("suggested", trial, settings={"a": 1.5}))
        assert [event.trial for event in journal().read_events()] == list(range(trial + 1))
    move_to(tmp_path / "second")
    second = journal()
    second.repair()
    second.append(Event("ended", 0, decision="finished"))
    assert [event.kind for event in second.read_events()] == ["suggested"] * 3 + ["ended"]
    move_to(tmp_path / "first")
    assert len(journal().read_events()) == 4
    late, later = journal(), journal()
    assert late.read_events() == later.read_events()
    late.append(Event("ended", 1, decision="finished"))
    for other in (first, later):
        with pytest.raises(UserError, match=r"another driver has written to .*journal\.jsonl.* since"):
            other.append(Event("ended", 2, decision="finished"))
    assert len(journal().read_events()) == 5


def test_workers_ask_a_store_now_and_then_whether_they_are_still_wanted(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(wanted: Place) -> list[bool]:
        """A second after the file went, and three."""
        write(wanted, "")
        times = iter((0.0, 0.0, 1.0, 3.0, 3.0, 3.0))
        gone = Unwanted(wanted)
        with monkeypatch.context() as clock:
            clock.setattr(launch_files, "time", SimpleNamespace(monotonic=lambda: next(times)))
            assert not gone()
            wanted.remove()
            return [gone() for _ in range(2)]

    assert answers(place_at(address) / ".launch") == [False, True]
    assert answers(DiskPlace(tmp_path / ".launch"))[0] is True


def flags(command: str, output: str) -> list[str]:
    return [
        command,
        *few_images(),
        *FLAGS,
        "--train.output",
        output,
        *(["--tracking-uri", "none"] if command == "train" else []),
    ]


@pytest.mark.slow
def test_a_killed_training_ends_bit_identical_on_another_machine_and_a_third_one_measures_it(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk, output = str(tmp_path / "whole"), f"s3://bucket/{next(_PREFIXES)}{bucket}"
    assert main(flags("train", disk)) == 0
    training = [sys.executable, "-m", "csg", *flags("train", output)]
    with warm.Popen(training, stdout=warm.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step ") and int(line.split()[1].split("/")[0]) >= 7:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    move_to(tmp_path / "second")
    (name,) = (place_at(output) / "trained").list_names()
    folders = [place_at(each) / "trained" / name for each in (disk, output)]
    assert (folders[1] / "checkpoint.pt").exists()
    assert main(flags("train", output)) == 0
    whole, cut = (load_state(folder / "selected.pt")["model"] for folder in folders)
    assert cut.keys() == whole.keys() and all(torch.equal(cut[key], whole[key]) for key in whole)
    move_to(tmp_path / "third")
    capsys.readouterr()
    assert main(flags("evaluate", output)) == 0
    assert "target/test/accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_workers_share_a_run_by_an_object_store_alone(bucket: str, tmp_path: Path) -> None:
    output = f"s3://bucket/{next(_PREFIXES)}{bucket}"
    try:
        assert main([*flags("train", output), "--train.workers", "2", "--train.epochs", "1"]) == 0
    finally:
        ray.shutdown()
    (name,) = (place_at(output) / "trained").list_names()
    folder = place_at(output) / "trained" / name
    assert not [left for left in folder.list_names() if left.startswith(".")], "nothing of the launch is left"
    record = read_record(folder)
    assert record is not None and record.status == "finished" and len(record.epochs) == 1
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".pt" or ".ray_train" in path.name]
