"""What a person is told of a run beyond its numbers: before it, what cannot come of it; after it, what matters."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from scipy.stats import binomtest

from csg import cli
from csg.commands.figures import print_figures
from csg.commands.remarks import remark_on_chance, remark_on_idle_selection, remark_on_warmup
from csg.config import Config
from csg.messages.console import Console
from csg.parsing import build_config
from csg.training.run import Run
from tests.finished_run import new_run
from tests.made_up_pair import made_up_pair


def configure(**settings: object) -> Config:
    return build_config({name.replace("__", "."): value for name, value in settings.items()})


def test_a_warmup_that_does_not_end_within_the_run_is_remarked_upon() -> None:
    short = configure(train__epochs=2, train__batch_size=10, optim__warmup_steps=20)
    assert remark_on_warmup(short, images=100).startswith(
        "optim.warmup_steps: a warm-up of 20 steps does not end within the 20 steps of the run, whose learning rate "
    )
    assert remark_on_warmup(short, images=110) == ""
    probed = configure(train__epochs=3, train__batch_size=10, optim__warmup_steps=20, method__name="lp_ft")
    assert "within the 20 steps that follow the probing, whose learning rate " in remark_on_warmup(probed, images=100)
    alone = configure(train__epochs=2, train__batch_size=10, method__name="lp_ft", method__probe_epochs=3)
    assert remark_on_warmup(alone, images=100) == "", "there is no warm-up"
    constant = dataclasses.replace(short, optim=dataclasses.replace(short.optim, schedule="constant"))
    assert remark_on_warmup(constant, images=100) == ""


def test_a_dry_run_refuses_a_batch_larger_than_the_data_and_remarks_on_the_warmup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = ["train", "--dry-run", "--data.source-images", "40"]
    assert cli.main([*small, "--train.batch-size", "41"]) == 2
    assert "train.batch_size: expected at most data.source_images (40), found 41" in capsys.readouterr().err
    assert cli.main([*small, "--train.epochs", "3", "--optim.warmup-steps", "20"]) == 0
    assert "a warm-up of 20 steps does not end within the 3 steps of the run" in capsys.readouterr().out


def test_a_protocol_that_selects_no_epoch_is_said_to_select_nothing() -> None:
    config = configure(selection__protocol="unlabelled")
    said = remark_on_idle_selection(config, {"selection.protocol"})
    assert said == (
        "--selection.protocol selects nothing in a single training, which measures the last epoch's weights; "
        "--selection.epoch best measures those of the epoch with the best target/val class_ami"
    )
    assert remark_on_idle_selection(config, {"train.seed"}) == "", "a search's best.yaml states its protocol too"
    best = configure(selection__protocol="unlabelled", selection__epoch="best")
    assert remark_on_idle_selection(best, {"selection.protocol"}) == ""


@pytest.mark.parametrize(
    ("held_out", "real", "said"),
    [
        (0.5, 0.34, "synthetic images cannot be told from chance, 33.3 % with 3 classes: perhaps nothing was"),
        (0.9, 0.34, "real images cannot be told from chance, 33.3 % with 3 classes: perhaps nothing of what"),
        (0.9, 0.4, ""),
    ],
)
def test_accuracy_that_cannot_be_told_from_chance_is_remarked_upon(held_out: float, real: float, said: str) -> None:
    metrics = {"selected/source/val/mean_class_accuracy": held_out, "target/test/mean_class_accuracy": real}
    found = remark_on_chance(metrics | {"target/test/images": 1258.0}, configure(), made_up_pair())
    assert said in found if said else found == ""


@pytest.fixture
def measured(tmp_path: Path) -> Run:
    run = new_run(tmp_path)
    figures = {"accuracy": 0.75, "mean_class_accuracy": 0.5}
    run.record.final = {f"target/test/{name}": value for name, value in figures.items()}
    run.record.final |= {f"selected/source/val/{name}": 0.5 for name in figures} | {"selected/epoch": 4.0}
    run.record.final |= {"target/test/images": 16.0, "target/test/E0_mhe": 1.25}
    return run


def describe(run: Run) -> list[str]:
    console = Console(file=io.StringIO())
    print_figures(run, console)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_a_run_ends_with_its_figures_in_percent_and_their_intervals(measured: Run) -> None:
    interval = binomtest(12, 16).proportion_ci(method="wilson")
    assert describe(measured)[1:] == [
        "Result with the weights of epoch 4 of 4: 16 real images of target/test, which nothing was selected on "
        "(95 % Wilson interval over the images):",
        f"real accuracy 75.0 % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]",
        "real mean class accuracy 50.0 %",
        "held-out synthetic accuracy 50.0 % [25.4, 74.6]",
        "real E_0 (mhe) 1.250",
    ]


def test_without_labelled_real_images_a_run_says_that_nothing_tells_how_right_it_is(measured: Run) -> None:
    final = measured.record.final
    measured.record.final = {name: value for name, value in final.items() if not name.startswith("target/")}
    said = describe(measured)
    assert said[-1] == "There is no target/test: no label says how right these are on real images."
    assert not any(line.startswith("real") for line in said)
