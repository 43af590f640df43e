"""``csg evaluate --checkpoint`` measures finished runs on any labelled set, and records it beside what is on record."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from csg import cli
from csg.data.pair import TARGET_TEST
from csg.tracking import RunTracker, TrackedRun, Tracker, get_default_tracking_uri, read_evaluated_sets, read_experiment
from csg.training.run import Run
from csg.training.selection import SELECTION_SCORE
from tests.csg.commands.test_cli import run as run_command
from tests.finished_run import finished_run, write_images

ACCURACY = "evaluated/photos/mean_class_accuracy"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two finished runs, which a store has too."""
    output = tmp_path_factory.mktemp("runs")
    trained = [finished_run(output, train__seed=seed) for seed in (0, 1)]
    store = Tracker(get_default_tracking_uri(str(output)), "bars")
    for run in trained:
        RunTracker(store, run).log()
    return trained


@pytest.fixture
def photos(tmp_path: Path, runs: list[Run]) -> Path:
    write_images(tmp_path / "photos", runs[0].pair, TARGET_TEST)
    return tmp_path / "photos"


def evaluate(capsys: pytest.CaptureFixture[str], runs: list[Run], *argv: object) -> tuple[int, str]:
    checkpoints = [str(run.selected) for run in runs]
    return run_command(cli.main, ["evaluate", "--checkpoint", *checkpoints, *map(str, argv)], capsys)


def stored(run: Run) -> TrackedRun:
    found = read_experiment(get_default_tracking_uri(run.config.train.output), "bars")
    return next(each for each in found if each.tags["csg.run"] == run.identity.name)


def test_a_set_is_measured_as_target_test_is(runs: list[Run], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = evaluate(capsys, runs, "--data.target", photos)
    assert code == 0 and "recorded with 1 run" in said
    for run in runs:
        found, own = stored(run), run.record.final
        for name in ("mean_class_accuracy", "accuracy", "E0_mhe", "images", "class_accuracy/b"):
            assert found.metrics[f"evaluated/photos/{name}"] == pytest.approx(own[f"target/test/{name}"], abs=1e-6)
        assert f"{100 * own['target/test/accuracy']:.1f}" in said
        assert found.metrics[SELECTION_SCORE] == run.score(run.config.train.epochs)


def test_a_second_measurement_replaces_the_first_and_leaves_other_sets(
    runs: list[Run], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(capsys, runs[:1], "--data.target", photos)[0] == 0
    assert evaluate(capsys, runs[:1], "--data.target", photos, "--name", "again")[0] == 0
    before = read_evaluated_sets(stored(runs[0]).tags)
    assert before["photos"] == before["again"]
    for path in sorted((photos / "a").iterdir())[1:]:
        path.unlink()
    assert evaluate(capsys, runs[:1], "--data.target", photos)[0] == 0
    found = stored(runs[0])
    assert found.metrics["evaluated/photos/images"] == 11 and found.metrics["evaluated/again/images"] == 15
    sets = read_evaluated_sets(found.tags)
    assert sets["photos"] != before["photos"] and sets["again"] == before["again"]


def test_a_subset_of_the_classes_is_measured_and_said(
    runs: list[Run], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(photos / "b")
    code, said = evaluate(capsys, runs[:1], "--data.target", photos, "--tracking-uri", "none", "--name", "two")
    assert code == 0 and "two has no labels of 1 of 3 classes, which count nowhere: b" in said
    final = runs[0].record.final
    expected = (final["target/test/class_accuracy/a"] + final["target/test/class_accuracy/c"]) / 2
    assert f"evaluated/two/mean_class_accuracy {expected:.6g}" in said
    assert "evaluated/two/class_accuracy/b" not in said and "recorded" not in said


def test_weights_away_from_their_run_are_measured_and_not_recorded(
    runs: list[Run], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(runs[0].selected.local, tmp_path / "mine.pt")
    argv = ["evaluate", "--checkpoint", "mine.pt", "--data.target", str(photos)]
    code, said = run_command(cli.main, argv, capsys)
    assert code == 0 and ACCURACY in said and "Not recorded: mine.pt does not lie in the folder of a run" in said
    moved = tmp_path / "elsewhere" / "trained" / runs[0].identity.name
    moved.mkdir(parents=True)
    shutil.copy(runs[0].selected.local, moved / "selected.pt")
    argv[2] = str(moved / "selected.pt")
    assert "Not recorded: there is no MLflow store at" in run_command(cli.main, argv, capsys)[1]


def test_a_training_of_a_trial_that_has_no_run_of_its_own_is_told_how_it_gets_one(
    runs: list[Run], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = finished_run(Path(runs[0].config.train.output), data__held_out="DejaVu Sans")
    code, said = evaluate(capsys, [part], "--data.target", photos)
    assert code == 0 and f"Not recorded: no run of {part.identity.name} in" in said
    assert "it is the training without DejaVu Sans, and a trial under held_out_source has one run for all" in said
    assert "csg train with its settings (--data.held-out 'DejaVu Sans' among them), which trains nothing again" in said
    RunTracker(Tracker(get_default_tracking_uri(part.config.train.output), "bars"), part).log()
    assert "recorded with 1 run" in evaluate(capsys, [part], "--data.target", photos)[1]


def _add_a_class(photos: Path) -> None:
    shutil.copytree(photos / "a", photos / "A")


def _lose_all(photos: Path) -> None:
    shutil.rmtree(photos)
    photos.mkdir()


def _break_one(photos: Path) -> None:
    next(path for path in (photos / "a").iterdir()).write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "argv", "message"),
    [
        (_add_a_class, [], "(a, b, c), found 'A' in photos; the nearest is 'a'"),
        (_lose_all, [], "data.target: expected one sub-folder a class, found none in"),
        (_break_one, [], "found an empty file"),
        (None, ["--data.target", "nowhere"], "data.target: expected a folder with one sub-folder a class"),
        (None, ["--data.image-size", "64"], "--data.image-size: expected only where the set lies"),
        (None, ["--streams", "target/val"], "--streams: expected none with --checkpoint"),
        (None, ["--name", "my set"], "--name: expected English letters, digits"),
        (None, ["--data.name", "gta5_cityscapes"], "data.name: expected a set for classification"),
        (None, ["--data.name", "glyphs"], "data.name: expected a set on disk"),
        (None, ["--tracking-uri", "nowhere.db"], "--tracking-uri: expected an MLflow store, found nothing at"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    spoil: object, argv: list[str], message: str, runs: list[Run], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if callable(spoil):
        spoil(photos)
    code, said = evaluate(capsys, runs[:1], "--data.target", photos.name, *argv)
    assert code == 2 and message in said.replace(f"{photos.parent}/", "")


def test_a_file_of_settings_may_name_the_set_and_nothing_that_the_weights_bring(
    runs: list[Run], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("set.yaml").write_text(f"data.target: {photos.name}\ntrain.threads: 1\n")
    code, said = evaluate(capsys, runs[:1], "--config", "set.yaml", "--tracking-uri", "none")
    assert code == 0 and ACCURACY in said
    Path("set.yaml").write_text(f"data.target: {photos.name}\ntrain.epochs: 3\n")
    code, said = evaluate(capsys, runs[:1], "--config", "set.yaml")
    assert code == 2 and "--config: train.epochs: expected only where the set lies" in said


def test_weights_need_a_set_and_a_set_needs_weights(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    code, said = evaluate(capsys, runs)
    assert code == 2 and "--checkpoint: expected a labelled set to measure on, found none" in said
    code, said = run_command(cli.main, ["evaluate", "--name", "photos"], capsys)
    assert code == 2 and "--checkpoint: expected the weights of finished runs" in said
