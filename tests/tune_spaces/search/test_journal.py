"""A search's journal: what a kill may leave of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from csg.messages.errors import UserError
from csg.storage.disk import DiskPlace
from tests.tune_spaces.search.simulated_search import drive, searcher, what_happened
from tune_spaces.search.journal import Event, Journal
from tune_spaces.spaces.shipped import SPACES


def test_a_line_that_a_kill_cut_short_never_happened(simulated: Journal, tmp_path: Path) -> None:
    data = simulated.file.local.read_bytes()
    for cut in (len(data) // 3, len(data) // 2, len(data) - 1):
        journal = Journal(DiskPlace(tmp_path / f"{cut}.jsonl"))
        journal.file.local.write_bytes(data[:cut])
        journal.read_events()
        assert journal.file.local.read_bytes() == data[:cut], "reading changes nothing: the line may be on its way"
        journal.repair()
        drive(journal)
        assert what_happened(journal) == what_happened(simulated)


def test_a_journal_that_lacks_a_line_is_refused(simulated: Journal, tmp_path: Path) -> None:
    lines = simulated.file.local.read_bytes().splitlines(keepends=True)
    suggested = [number for number, line in enumerate(lines) if b'"suggested"' in line and b'"trial": 4' in line]
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(b"".join(line for number, line in enumerate(lines) if number != suggested[0]))
    with pytest.raises(UserError, match="tells of another search, whose trial 5 is"):
        searcher(Journal(DiskPlace(torn)))


@pytest.mark.parametrize("name", ["contrast", "csg_segmentation"])
def test_a_journal_of_another_search_is_refused(simulated: Journal, name: str) -> None:
    with pytest.raises(UserError, match="tells of another search, whose trial 1 is"):
        searcher(simulated, space=SPACES[name])


@pytest.mark.filterwarnings("ignore:The value 7.0 of the parameter")
@pytest.mark.parametrize(
    "point",
    [
        {"optim.lr": 7.0, "optim.backbone_lr_factor": 0.1},
        {"optim.lr": 0.02},
        {"optim.lr": 0.02, "optim.backbone_lr_factor": 0.1, "method.temperature": 0.1},
    ],
)
def test_a_journal_with_a_suggestion_outside_the_space_is_refused(tmp_path: Path, point: dict[str, float]) -> None:
    journal, space = Journal(DiskPlace(tmp_path / "j.jsonl")), SPACES["learning_rates"]
    drive(journal, trials=2, space=space)
    searcher(journal, space=space)
    journal.append(Event("suggested", 2, settings=point))
    with pytest.raises(UserError, match="tells of another search, whose trial 2 is"):
        searcher(journal, space=space)
