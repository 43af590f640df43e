"""A driver that dies leaves no run in MLflow that looks as if it was under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from csg.messages.errors import UserError
from csg.storage.bucket import BucketGoneError
from csg.storage.disk import DiskPlace
from csg.tracking import Tracker, get_default_tracking_uri
from csg.tracking.tags import Tag
from tune_spaces.execution.closing import AnotherDriverError, close_on_error


def test_a_driver_that_dies_closes_its_parent_run_and_what_was_under_way(tmp_path: Path) -> None:
    tracker = Tracker(get_default_tracking_uri(str(tmp_path)), "glyphs")
    folder = DiskPlace(tmp_path / "ablations")

    def opened() -> str:
        return tracker.open_parent("ablation", "a-1", folder=folder, name="a", params={}, description="")

    for error, status in (
        (RuntimeError(), "FAILED"),
        (UserError("the sources of csg changed"), "FAILED"),
        (BucketGoneError("away"), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ):
        parent = opened()
        tags = {Tag.PARENT: parent, "status": "running"}
        child = tracker.client.create_run(tracker.experiment_id, tags=tags).info.run_id
        with pytest.raises(type(error)), close_on_error(tracker, "ablation", "a-1", folder):
            raise error
        assert tracker.client.get_run(parent).info.status == status
        assert tracker.read(parent).status == ("failed" if status == "FAILED" else "interrupted")
        assert tracker.client.get_run(child).info.status == "KILLED"
    assert {run.status for run in tracker.read_children(parent)} == {"interrupted"}
    with close_on_error(tracker, "ablation", "a-1", folder):
        assert opened() == parent
    assert tracker.read(parent).status == "running"
    assert tracker.client.get_run(parent).info.status == "RUNNING"


def test_a_driver_that_gives_way_leaves_the_runs_to_the_other_one(tmp_path: Path) -> None:
    tracker = Tracker(get_default_tracking_uri(str(tmp_path)), "glyphs")
    parent = tracker.open_parent("search", "s-1", folder=DiskPlace(tmp_path), name="s", params={}, description="")
    tags = {Tag.PARENT: parent, "status": "running"}
    child = tracker.client.create_run(tracker.experiment_id, tags=tags).info.run_id
    with pytest.raises(AnotherDriverError), close_on_error(tracker, "search", "s-1", DiskPlace(tmp_path)):
        raise AnotherDriverError("another driver has written")
    assert [tracker.client.get_run(run_id).info.status for run_id in (parent, child)] == ["RUNNING", "RUNNING"]
