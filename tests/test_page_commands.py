"""What a reader copies from the pages works: commands are read by their parsers, examples are loaded and planned."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import optuna
import pytest
from tensorboardX.proto import event_pb2

import csg
from analysis.export_runs import ExportOptions as ExportRunsOptions
from analysis.paper_figures import FigureOptions
from analysis.paper_tables import TableOptions
from analysis.report import ReportOptions
from analysis.trace import TraceOptions
from csg.commands.evaluate import EvaluateOptions
from csg.commands.export import ExportOptions
from csg.commands.predict import PredictOptions
from csg.commands.train import TrainOptions
from csg.config.flags import read_options
from csg.messages.console import Console
from csg.parsing import ConfigOptions, parse_flags, to_yaml
from csg.workers.slots import count_fitting
from tests.few_images import few_images
from tests.page_text import PAGES, ROOT, list_commands, read_python
from tests.stores import put_store_below
from tune_spaces import visda_ablation
from tune_spaces.comparison.comparison import ComparisonOptions
from tune_spaces.designs.shipped import choose_design
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import choose_protocol, plan_search
from tune_spaces.search.script import START
from tune_spaces.visda_ablation import DesignOptions

OPTIONS: Final[dict[str, type[Any]]] = {
    "csg train": TrainOptions,
    "csg evaluate": EvaluateOptions,
    "csg predict": PredictOptions,
    "csg export": ExportOptions,
    "csg data": ConfigOptions,
    "tune_spaces.visda_search": SearchOptions,
    "tune_spaces.gta5_search": SearchOptions,
    "tune_spaces.visda_ablation": DesignOptions,
    "tune_spaces.visda_comparison": ComparisonOptions,
    "analysis.paper_tables": TableOptions,
    "analysis.paper_figures": FigureOptions,
    "analysis.report": ReportOptions,
    "analysis.trace": TraceOptions,
    "analysis.export_runs": ExportRunsOptions,
}
"""What each program's parser reads."""
PAIRS: Final = {"tune_spaces.gta5_search": "glyph_scenes"}
"""``data.name`` of a script where nothing says it, if that is not glyphs."""


def find_program(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the program that a command line calls, and its arguments."""
    length = 1 if words[0] != "csg" else 3 if words[1:3] == ["data", "check"] else 2
    return " ".join(words[: min(length, 2)]), words[length:]


def read_command(words: Sequence[str]) -> Any:
    """Read a command line as its program does, and return its options, or its flags where it takes settings."""
    program, argv = find_program(words)
    options = OPTIONS[program]
    if not issubclass(options, ConfigOptions):
        return read_options(options, argv, prog=program, description=None)
    searches = START | {"data.name": PAIRS.get(program, "glyphs")}
    base = searches if issubclass(options, SearchOptions) else None
    flags: Any = parse_flags(options, argv, prog=program, description="", base=base)
    if issubclass(options, SearchOptions):
        choose_protocol(flags)
    if options in (DesignOptions, ComparisonOptions):
        choose_design(flags.options.design, flags.config)
    return flags


@pytest.fixture
def examples() -> None:
    """The current folder with the files that commands on the pages name."""
    for page in PAGES:
        for name, text in read_python(page).items():
            Path(name).write_text(text)
    for folder in ("facebook/dinov2-small", "timm/resnet18.a1_in1k", "path/to/folder"):
        Path(folder).mkdir(parents=True)
        Path(folder, "config.json").write_text("{}")
    for file in ("best.yaml", "runs/searches/.../best.yaml"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("train.seed: 0\n")


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_read_by_their_own_parsers(page: Path) -> None:
    for words in list_commands(page):
        _, argv = find_program(words)
        if argv and "--help" not in argv:  # else the command is only named
            try:
                read_command(words)
            except csg.UserError as error:
                pytest.fail(f"{' '.join(words)}: {error}")


def test_commands_are_found_on_the_pages_in_every_form() -> None:
    found = {page.name: list_commands(page) for page in PAGES}
    assert found["README.md"][0][:5] == ["csg", "data", "check", "--data.name", "folders"], "in a block"
    assert ["tune_spaces.visda_search", "--num-samples", "40"] in found["README.md"], "by make, between words"
    assert ["tune_spaces.visda_search", "--train.output", "/shared/runs", "--resume"] in found["machines.md"], (
        "as a job"
    )
    read = [find_program(words) for commands in found.values() for words in commands]
    assert {program for program, argv in read if argv} == OPTIONS.keys(), "each is on a page, and none else"


def test_four_gpus_take_as_many_runs_as_the_page_says() -> None:
    section = (ROOT / "docs" / "machines.md").read_text().partition("four GPUs\n")[2].partition("\n## ")[0]
    Path("section.md").write_text(section)
    commands = [words for words in list_commands(Path("section.md")) if find_program(words)[1]]
    configs = [read_command(words).config for words in commands]
    assert [count_fitting(config, [{"CPU": 40.0, "GPU": 4.0}]) for config in configs] == [1, 4, 8, 2]
    assert {config.cpus_per_worker for config in configs} == {5}


@pytest.mark.usefixtures("examples")
def test_the_space_of_the_page_is_planned_with_a_setting_that_some_trials_lack() -> None:
    argv = ["--space", "my_space.py:SPACE", *few_images()]
    flags = parse_flags(SearchOptions, argv, prog="visda_search", description="")
    search = plan_search(flags, Console())
    assert search.space.make_point(search.base)["method.stage3.weight"] == 0.1
    study = optuna.create_study()
    points = []
    for _ in range(20):
        trial = study.ask()
        search.space.suggest(search.base, trial)
        points.append(trial.params)
    assert {("3" in point["method.stages"], "method.stage3.weight" in point) for point in points} == {
        (True, True),
        (False, False),
    }


@pytest.mark.usefixtures("examples")
def test_the_design_of_the_page_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--design", "my_design.py:AUGMENTATION", "--seeds", "2", "--plan", *few_images()]
    assert visda_ablation.main(command) == 0
    said = capsys.readouterr().out
    assert "Augmentation and CSG: 4 cells x 2 seeds" in said
    assert said.count("seeds 0, 1 missing") == 4


class StandIn:
    """W&B's run as far as the page uses it; it keeps what it is given."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.summary: dict[str, float] = {}
        self.logged: dict[int, dict[str, float]] = {}

    def init(self, *, project: str, config: dict[str, Any]) -> StandIn:
        self.config = config
        return self

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        """End the run."""

    def log(self, figures: dict[str, float], *, step: int) -> None:
        self.logged[step] = figures


def read_scalars(file: Path) -> dict[tuple[str, int], float]:
    """Read the scalars of a file of TensorBoard's by name and step: records of a length, a sum, an event and a sum."""
    found: dict[tuple[str, int], float] = {}
    left = file.read_bytes()
    while left:
        (length,) = struct.unpack("<Q", left[:8])
        event = event_pb2.Event.FromString(left[12 : 12 + length])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        left = left[16 + length :]
    return found


def test_the_scripts_of_the_page_take_figures_to_tensorboard_and_to_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    put_store_below(Path("runs"))
    small = {"data.source-images": 40, "train.epochs": 1, "train.batch-size": 8, "method.name": "source_only"}
    flags = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    config = parse_flags(ConfigOptions, [*few_images(), *flags], prog="csg train", description="").config
    Path("best.yaml").write_text(to_yaml(config))
    run = csg.train(config, experiment="glyphs")
    scripts = read_python(ROOT / "docs" / "can_i.md")

    exec(scripts["to_tensorboard.py"], {})
    (events,) = Path("tensorboard").glob("*/events.*")
    scalars = read_scalars(events)
    assert scalars["train/loss", 1] == pytest.approx(run.epochs["train/loss"][1])
    assert {name for name, _ in scalars} >= {name.replace(" ", "_") for name in (*run.epochs, *run.final.index)}

    wandb = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    exec(scripts["to_wandb.py"], {})
    assert wandb.config["method"]["name"] == "source_only"
    assert wandb.logged[1]["train/loss"] == run.epochs["train/loss"][1]
    assert wandb.summary == run.final.to_dict()
