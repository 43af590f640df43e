"""Both command lines refuse what cannot be used, before anything is trained, and say why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from csg import cli
from csg.commands import opening
from csg.models import make_encoder
from csg.training.program import get_program_digest
from tests.few_images import few_images
from tune_spaces import visda_ablation, visda_search

PAPER = "visda17_csg"
Main = Callable[[list[str]], int]
SMALL = ["--data.source-images", "40", "--data.image-size", "32", "--train.epochs", "1", "--train.batch-size", "8"]
UNTRAINED = [*SMALL, "--model.weights", "none"]
"""No weights are made for what is refused, which takes a minute where this machine has none yet."""


def train(argv: list[str]) -> int:
    return cli.main(["train", *argv])


def run(main: Main, argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what it said, line breaks and boxes taken out."""
    try:
        code = main(argv)
    except SystemExit as left:
        code = int(left.code or 0)
    said = capsys.readouterr()
    return code, " ".join((said.out + said.err).replace("│", " ").split())


@pytest.mark.parametrize("main", [train, visda_search.main], ids=["train", "search"])
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--method.temprature", "0.1"], "--method.temperature"),
        (["--method.temperature", "hot"], "--method.temperature: expected a number, found 'hot'"),
        (["--method.temperature", "0"], "expected more than 0 and at most 10"),
        (["--method.stages", "7"], "expected different stages of 1 to 4"),
        (["--method.stages", "4", "--method.stage3.pooling", "apool"], "stage 3 is not among the chosen ones"),
        (["--method.name", "dann"], "method.name: expected one of csg"),
        (["--model.weights", "none.pth"], "model.weights: expected a state-dict file"),
        (["--model.name", "vit"], "model.name: expected one of"),
        (["--data.name", "visda17"], "data.root: expected the folder that holds train/ and validation/, found none"),
        (["--config", "none.yaml"], "--config: cannot read none.yaml (there is no such file)"),
        (
            ["--config", "file:///nowhere/a.yaml"],
            "--config: cannot read file:///nowhere/a.yaml (there is no such file)",
        ),
        (["--config", "s3://id:secret@bucket/a.yaml"], "--config: expected no key in the address"),
    ],
)
def test_bad_input_gives_a_clear_error(
    main: Main,
    argv: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, said = run(main, argv, capsys)
    assert code == 2
    assert message in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("main", [train, visda_search.main], ids=["train", "search"])
def test_weights_of_another_architecture_are_refused(
    main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch.save(make_encoder("resnet18").state_dict(), tmp_path / "resnet18.pth")
    code, said = run(main, ["--model.name", "efficientnet_lite0", "--model.weights", "resnet18.pth", *SMALL], capsys)
    assert code == 2
    assert "missing: _conv_stem.weight" in said and "unexpected: conv1.weight" in said


@pytest.mark.parametrize("main", [train, visda_search.main], ids=["train", "search"])
def test_an_output_folder_that_cannot_be_written_to_is_refused(
    main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    code, said = run(main, ["--train.output", "file/runs", "--data.cache", "cache", *UNTRAINED], capsys)
    assert code == 2
    assert "train.output: cannot write to" in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--resume", *UNTRAINED], "--resume: no search with these flags"),
        (["--protocol", "paper"], "--protocol: expected one of source, shifted, held_out_source, unlabelled, oracle"),
        (["--config", PAPER], "would hand them to the search; choose one with --protocol"),
        (["--config", PAPER, "--protocol", "source", "--data.root", "nowhere"], "model.weights: no weights named"),
        (["--selection.protocol", "paper", "--selection.epoch", "best"], "would hand them to the search"),
        (["--num-samples", "1"], "--num-samples: expected at least 2"),
        (["--time-budget", "-1"], "--time-budget: expected minutes"),
        (["--space", "everything"], "--space: expected one of csg"),
        (["--method.name", "source_only", "--space", "csg"], "--space: does not fit --method.name source_only"),
        (["--method.stage3.weight", "1"], "stages are searched; set --method.stages too"),
        (
            ["--space", "learning_rates", "--optim.lr", "1", "--optim.backbone-lr-factor", "1"],
            "nothing is left to search",
        ),
    ],
)
def test_flags_that_make_no_search_are_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run(visda_search.main, argv, capsys)
    assert code == 2
    assert message in said


@pytest.mark.parametrize("main", [train, visda_search.main, visda_ablation.main])
def test_a_store_is_asked_before_weights_are_trained_and_images_looked_at(
    main: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def take_a_minute(*_: object, **__: object) -> None:
        pytest.fail("the store was asked later")

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(opening, "make_weights", take_a_minute)
    monkeypatch.setattr(opening, "load_pair", take_a_minute)
    code, said = run(main, ["--tracking-uri", "http://127.0.0.1:9", *SMALL], capsys)
    assert code == 2 and "--tracking-uri: cannot reach" in said


@pytest.mark.parametrize("main", [visda_search.main, visda_ablation.main])
def test_what_keeps_its_runs_in_a_store_is_refused_without_one(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(main, ["--tracking-uri", "none", *SMALL], capsys)
    assert code == 2 and "keeps its runs in an MLflow store; name one, or leave this out" in said


@pytest.mark.slow
def test_a_run_is_trained_once_and_can_be_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    small = [*few_images(), *("--train.epochs", "1", "--train.batch-size", "8", "--method.name", "source_only")]
    argv = [*small, "--tracking-uri", "none"]
    code, said = run(train, argv, capsys)
    assert code == 0
    assert "epoch 1: loss" in said and "Another seed: " in said and said.count("selected.pt") == 2
    code, again = run(train, argv, capsys)
    assert code == 0
    assert "1 of 1 epoch is on record" in again
    assert again.split("epoch 1: loss")[1] == said.split("epoch 1: loss")[1]
    code, measured = run(lambda a: cli.main(["evaluate", *a]), small, capsys)
    assert code == 0
    figure = float(said.split("real accuracy ")[1].split()[0])
    assert float(measured.split("target/test/accuracy ")[1].split()[0]) == pytest.approx(figure / 100, abs=5e-4)


def test_a_loss_that_blows_up_ends_the_run_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*UNTRAINED, "--tracking-uri", "none", "--method.temperature", "1e-40"]
    code, said = run(train, argv, capsys)
    assert code == 1
    assert "training failed: loss_csg_stage3 is" in said and "at step 0" in said


def test_no_command_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.main, [], capsys)[0] == 2
    code, said = run(cli.main, ["--help"], capsys)
    assert code == 0 and said.startswith("usage: csg COMMAND [flags] (csg COMMAND --help shows them)")
    assert all(f"{name} {does}" in said for name, does in cli.COMMANDS.items())


def test_the_version_names_the_program_that_runs_are_known_by(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(cli.main, ["--version"], capsys)
    assert code == 0 and said == f"csg {version('csg-ablation')}, program {get_program_digest()}"


def test_output_that_nobody_reads_to_its_end_is_no_error_to_show() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "csg", "train", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
