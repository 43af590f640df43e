"""A run's identity covers the files that compute, and no others."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import grimp
import pytest

from csg.commands.opening import show_remarks
from csg.messages.console import Console
from csg.training.identity import describe_earlier_runs
from csg.training.program import (
    NOT_COMPUTING,
    ROOT,
    ROOTS,
    compute_program_digest,
    find_computing_files,
    get_program_digest,
)
from tests.finished_run import new_run

ASIDE = {"messages", "storage", "tracking", "commands", "workers", "parsing", "__init__.py", "notebook.py"}
"""Rooms of which no file computes: words, files, MLflow, the command line, Ray, settings as they are written, and what
a notebook is offered."""
NOT_DIGESTED = {
    *("__main__.py", "cli.py"),  # what is typed; what comes of it is in a run's configuration
    *("config/flags.py", "config/names.py", "config/words.py"),
    *("data/check.py", "data/description.py", "training/protocol.py"),  # before training
    *("data/labelled_set.py", "models/deployable.py", "training/dry_run.py"),  # before and after training
    # A run's folder: what its name and its files are, and who writes them when.
    *("training/identity.py", "training/program.py", "training/record.py", "training/run.py", "training/selected.py"),
    *("training/mean_run.py", "training/score_words.py"),
}
"""Files of all other rooms that no number depends on. Whatever else is new there has to be imported by what trains."""


WORDS_AND_FILES = {
    *(
        "csg.messages.console",
        "csg.messages.errors",
        "csg.messages.faults",
        "csg.messages.progress",
        "csg.messages.text",
        "csg.messages.waiting",
        "csg.messages.wording",
    ),
    *("csg.storage.files", "csg.storage.paths", "csg.storage.place"),
}
"""What the training path imports and no number depends on."""


def below_root(paths: Iterator[Path] | list[Path]) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in paths}


def computing_files() -> set[str]:
    return below_root(find_computing_files())


def room(file: str) -> str:
    return file.partition("/")[0]


def test_every_file_is_known_to_compute_or_not_to() -> None:
    others = below_root(ROOT.rglob("*.py")) - computing_files()
    assert {file for file in others if room(file) not in ASIDE} == NOT_DIGESTED
    assert not {file for file in computing_files() if room(file) in ASIDE}
    assert set(NOT_COMPUTING) <= ASIDE


def test_all_that_the_training_path_imports_is_digested_but_for_words_and_files() -> None:
    graph = grimp.build_graph("csg", cache_dir=None)
    reached = {*ROOTS, *(module for root in ROOTS for module in graph.find_upstream_modules(root))}
    digested = {f"csg.{file[:-3].replace('/', '.')}".removesuffix(".__init__") for file in computing_files()}
    assert reached - digested == WORDS_AND_FILES


@pytest.mark.parametrize("method", ["csg", "asg", "drpc"])
def test_all_that_runs_while_a_run_is_trained_and_measured_is_digested(tmp_path: Path, method: str) -> None:
    run = new_run(tmp_path, method__name=method, train__epochs=1)
    executed: set[str] = set()

    def note(frame: FrameType, _event: str, _argument: Any) -> None:
        executed.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        list(run.train())
        run.finish()
    finally:
        sys.setprofile(None)
    ran = below_root([path for path in map(Path, executed) if path.is_relative_to(ROOT)])
    assert {"losses/infonce.py", "training/step.py"} <= ran if method == "csg" else ran
    others = {file for file in ran - computing_files() if room(file) not in NOT_COMPUTING}
    assert others <= {"training/identity.py", "training/record.py", "training/run.py", "training/selected.py"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's sources in another place."""
    return Path(shutil.copytree(ROOT, tmp_path / "elsewhere" / "csg", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_digest_is_the_same_wherever_the_sources_lie(copy: Path) -> None:
    assert compute_program_digest(copy) == get_program_digest()


def test_a_file_that_somebody_is_editing_is_another_program_and_no_error(copy: Path) -> None:
    (copy / "losses" / "infonce.py").write_text("def infonce(")
    assert compute_program_digest(copy) != get_program_digest()


@pytest.mark.parametrize(
    "file",
    [
        *("messages/progress.py", "messages/wording.py", "tracking/store.py", "workers/distributed.py", "cli.py"),
        *("__init__.py", "notebook.py"),
    ],
)
def test_another_message_is_no_other_program(copy: Path, file: str) -> None:
    (copy / file).write_text((copy / file).read_text() + '\nNEW = "a message"\n')
    assert compute_program_digest(copy) == get_program_digest()


@pytest.mark.parametrize("file", ["losses/infonce.py", "collective.py", "data/pairs/glyphs.py", "config/sections.py"])
def test_another_equation_is_another_program(copy: Path, file: str) -> None:
    (copy / file).write_text((copy / file).read_text() + "\nNEW = 1\n")
    assert compute_program_digest(copy) != get_program_digest()


def test_a_new_file_counts_as_soon_as_something_that_computes_imports_it(copy: Path) -> None:
    (copy / "losses" / "new.py").write_text("WEIGHT = 1\n")
    assert compute_program_digest(copy) == get_program_digest()
    loss = copy / "losses" / "infonce.py"
    loss.write_text(loss.read_text() + "\n\ndef weigh():\n    from csg.losses import new\n\n    return new.WEIGHT\n")
    first = compute_program_digest(copy)
    (copy / "losses" / "new.py").write_text("WEIGHT = 2\n")
    assert len({first, compute_program_digest(copy), get_program_digest()}) == 3


def test_runs_of_an_earlier_program_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = new_run(tmp_path)
    assert describe_earlier_runs(str(tmp_path)) == ""
    run.create()
    assert describe_earlier_runs(str(tmp_path)) == ""
    folder = run.folder.local
    earlier = folder.name.removesuffix(get_program_digest())
    for number in range(3):
        folder.with_name(f"{earlier.replace('seed0', f'seed{number}')}0123456789").mkdir()
    folder.with_name(".other").mkdir()
    console = Console()
    console.width = 300
    show_remarks(run.config, run.pair, console)
    assert capsys.readouterr().out.strip() == (
        f"3 runs below {tmp_path} are from an earlier program (digest 0123456789; now {get_program_digest()}): kept, "
        "and not reused."
    )
    folder.with_name(f"{earlier}9876543210").mkdir()
    assert describe_earlier_runs(str(tmp_path)).startswith(f"4 runs below {tmp_path} are from an earlier program (2 ")
