"""What tests of a search's parts share."""

from __future__ import annotations

import pytest

from csg.storage.disk import DiskPlace
from tests.tune_spaces.search.simulated_search import drive
from tune_spaces.search.journal import Journal


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """The journal of a simulated search that nothing disturbed."""
    journal = Journal(DiskPlace(tmp_path_factory.mktemp("search") / "journal.jsonl"))
    drive(journal)
    return journal
