"""How a search and an ablation end: one exit code and one message for all that came of them, confirmation included."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.messages.faults import OutsideFaultError
from csg.storage.disk import DiskPlace
from csg.tracking import TrackedRun
from tests.csg.training.test_training import tiny
from tests.made_up_pair import made_up_pair
from tune_spaces.ablation import script as ablation_script
from tune_spaces.ablation.ablation import Ablation, CellRun, estimate_seconds
from tune_spaces.ablation.script import AblationOptions, check_no_run_failed, show_plan
from tune_spaces.designs.design import Cell, Design
from tune_spaces.execution.closing import AnotherDriverError
from tune_spaces.execution.tuning import find_own_error
from tune_spaces.search import confirmation, summary, worth
from tune_spaces.search import script as search_script
from tune_spaces.search.confirmation import confirm
from tune_spaces.search.journal import Event, Journal
from tune_spaces.search.summary import measure_overheads

FAILED = "of 3 trials, 1 failed, for reasons of its configuration, which is not tried again"
AGAIN = "1 of 2 runs failed; the same command tries it again"


def end(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    ending: str = "complete",
    confirmed: Callable[..., bool] | None = None,
    lost: int = 0,
    decisions: tuple[str, ...] = ("finished", "finished", "finished"),
) -> int:
    """Return the exit code of a search of three trials that came to this."""
    journal = Journal(DiskPlace(folder / "journal.jsonl"))
    journal.file.local.unlink(missing_ok=True)
    for number, decision in enumerate(decisions):
        journal.append(Event("suggested", number))
        journal.append(Event("ended", number, decision=decision))
    options = SimpleNamespace(num_samples=3, seeds=3)
    search = SimpleNamespace(
        where="data bars",
        selects_by="Selects by a score.",
        cost="",
        options=options,
        confirmed=0 if confirmed is None else 2,
        config=None,
        pair=None,
        folder=DiskPlace(folder),
        journal=journal,
    )
    gone = dict.fromkeys(range(lost), "the trial's process died")
    outcome = SimpleNamespace(ending=ending, lost=gone)
    monkeypatch.setattr(search_script, "plan_search", lambda *_: search)
    monkeypatch.setattr(search_script, "show_remarks", lambda *_: None)
    monkeypatch.setattr(search_script, "run_search", lambda *_: outcome)
    monkeypatch.setattr(summary, "conclude", lambda *_: None)
    monkeypatch.setattr(summary, "show_other_choices", lambda *_: None)
    monkeypatch.setattr(worth, "show_worth", lambda *_: None)
    monkeypatch.setattr(confirmation, "confirm", confirmed)
    return search_script.search_script([], prog="search", description="", pair="glyphs")


def raising(error: Exception) -> Callable[..., bool]:
    def confirmed(*_: object) -> bool:
        raise error

    return confirmed


@pytest.mark.parametrize("confirmed", [None, raising(AssertionError("the search is not over"))])
def test_an_interrupted_search_ends_like_ctrl_c_and_one_out_of_time_well(
    confirmed: Callable[..., bool] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert end(monkeypatch, tmp_path, ending="interrupted", confirmed=confirmed) == 130
    assert end(monkeypatch, tmp_path, ending="out of time", confirmed=confirmed) == 0
    said = capsys.readouterr()
    assert said.err == "" and ("--confirm-top: left out until every trial has ended" in said.out) == bool(confirmed)
    assert end(monkeypatch, tmp_path, lost=1, confirmed=confirmed) == 1
    said = capsys.readouterr()
    assert said.err == "error: of 3 trials, 1 lost its process, which the same command tries again\n"
    assert ("--confirm-top: left out" in said.out) == bool(confirmed)


def test_an_interrupted_confirmation_ends_like_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert end(monkeypatch, tmp_path, confirmed=lambda *_: False) == 130
    assert end(monkeypatch, tmp_path, confirmed=lambda *_: True) == 0
    assert end(monkeypatch, tmp_path) == 0


@pytest.mark.parametrize(
    ("confirmed", "decisions", "code", "said"),
    [
        (None, ("finished", "stopped", "failed"), 1, FAILED),
        (lambda *_: True, ("finished", "stopped", "failed"), 1, FAILED),
        (raising(RunsFailedError(AGAIN)), ("finished", "stopped", "stopped"), 1, AGAIN),
        (raising(RunsFailedError(AGAIN)), ("finished", "stopped", "failed"), 1, f"{FAILED}; {AGAIN}"),
        (raising(UserError("--confirm-top: none")), ("finished", "stopped", "failed"), 2, f"{FAILED}; --conf"),
        (raising(OutsideFaultError("the disk is full")), ("finished", "stopped", "failed"), 3, "the disk is full"),
    ],
)  # fmt: skip
def test_what_failed_in_the_search_and_in_its_confirmation_is_said_together(
    confirmed: Callable[..., bool] | None,
    decisions: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert end(monkeypatch, tmp_path, confirmed=confirmed, decisions=decisions) == code
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_without_a_finished_trial_there_is_nothing_to_confirm(tmp_path: Path) -> None:
    stopped = TrackedRun("id", "001 csg", "stopped", {}, {"csg.trial": "1", "csg.role": "suggested"}, {})
    search: Any = SimpleNamespace(options=SimpleNamespace(seeds=3, confirm_top=2), confirmed=2)
    outcome: Any = SimpleNamespace(parent="id", tracker=SimpleNamespace(read_children=lambda _: [stopped]))
    with pytest.raises(UserError, match=r"^--confirm-top: no trial of the space has finished, so there is nothing to"):
        confirm(search, outcome, Console())


def an_ablation(folder: Path, seeds: int) -> Ablation:
    design = Design(title="One", base="csg", cells=(Cell("csg", {}),))
    pair = made_up_pair()
    planned = tuple(CellRun(design.cells[0], tiny(folder, train__seed=seed), pair) for seed in range(seeds))
    return Ablation("one", design, planned, "sqlite:///none", "bars", 1)


def test_an_ablation_in_which_runs_failed_says_so_at_its_end(tmp_path: Path) -> None:
    ablation = an_ablation(tmp_path, 2)
    first, second = (planned.run() for planned in ablation.runs)
    first.close("failed", "loss")
    second.create()._close("finished", "")
    with pytest.raises(RunsFailedError, match=r"^1 of 2 runs failed; the same command tries it again$"):
        check_no_run_failed(ablation)
    first._close("finished", "")
    check_no_run_failed(ablation)
    second._close("running", "")
    with pytest.raises(RunsFailedError, match=r"^1 of 2 runs failed"):
        check_no_run_failed(ablation)


def test_the_time_of_missing_runs_is_that_of_finished_ones(tmp_path: Path) -> None:
    ablation = an_ablation(tmp_path, 5)
    assert estimate_seconds(ablation) is None
    for planned, seconds in zip(ablation.runs[:2], (60.0, 120.0), strict=True):
        run = planned.run().create()
        run.record.epochs = [{"train/seconds": seconds - 20, "evaluation/seconds": 20.0}]
        run._close("finished", "")
    assert estimate_seconds(ablation) == pytest.approx(3 * 90)
    console = Console(file=io.StringIO())
    show_plan(ablation, console)
    assert isinstance(console.file, io.StringIO)
    assert "seeds 0, 1 finished; seeds 2 to 4 missing" in console.file.getvalue()
    assert "Missing runs: about 4 minutes, one at a time" in console.file.getvalue()


def test_overhead_is_what_a_slots_time_holds_beside_training_and_measuring() -> None:
    """Two slots: the third trial follows the first, which ended at 10, and the fourth the second, which ended at 14."""
    times = {0: (0, 10, 8), 1: (0, 14, 9), 2: (11, 21, 7), 3: (15, 30, 12)}
    happened = [Event("suggested", trial, time=began) for trial, (began, _, _) in times.items()]
    happened += [Event("reported", trial, time=end - 1, seconds=spent) for trial, (_, end, spent) in times.items()]
    happened += [Event("ended", trial, time=end) for trial, (_, end, _) in times.items()]
    happened.sort(key=lambda event: event.time)
    assert measure_overheads(happened, 100) == [21 - 10 - 7, 30 - 14 - 12]
    assert measure_overheads(happened, 17) == [30 - 14 - 12], "what was done before this call does not count"


@pytest.mark.parametrize(
    ("ending", "status", "code"), [("complete", "finished", 0), ("complete", "failed", 1), ("interrupted", "", 130)]
)
def test_an_ablations_exit_code_says_how_it_went(
    ending: str,
    status: Any,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ablation = an_ablation(tmp_path, 1)
    if status:
        ablation.runs[0].run().create()._close(status, "")
    monkeypatch.setattr(ablation_script, "plan_ablation", lambda *_: ablation)
    outcome = SimpleNamespace(ending=ending)
    monkeypatch.setattr(ablation_script, "run_ablation", lambda *_: outcome)
    monkeypatch.setattr(ablation_script, "conclude", lambda *_, **__: None)
    design = ("one", ablation.design)
    assert ablation_script.run_design([], AblationOptions, lambda _: design, prog="ablation", description="") == code
    said = "error: 1 of 1 run failed; the same command tries it again\n" if code == 1 else ""
    assert capsys.readouterr().err == said


def test_an_error_of_the_searchs_own_is_found_in_the_one_that_tune_makes_of_it() -> None:
    def wrapped(error: Exception, *, cause: bool) -> Exception:
        try:
            try:
                raise error
            except Exception as inner:
                if cause:
                    raise RuntimeError("Tune's") from inner
                raise RuntimeError("Tune's")  # noqa: B904
        except RuntimeError as outer:
            return outer

    own = AnotherDriverError("another driver")
    for cause in (True, False):
        assert find_own_error(wrapped(own, cause=cause)) is own
    plain = RuntimeError("x")
    circle = ValueError("y")
    plain.__context__, circle.__context__ = circle, plain
    assert find_own_error(plain) is plain, "and ends"
