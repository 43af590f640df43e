"""The door and the pages behind it: links lead somewhere, and the door stays one."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from csg.cli import COMMANDS
from csg.parsing import list_recipes
from tests.page_text import PAGES, ROOT
from tests.parts import list_parts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    for link in (link for link in links if "://" not in link):
        place, _, heading = link.partition("#")
        target = page.parent / place if place else page
        assert target.is_file(), link
        if heading:
            titles = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, link


def test_every_page_can_be_reached_from_the_door() -> None:
    reached, waiting = set(), [PAGES[0]]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = [
            page.parent / link for link in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text()) if "://" not in link
        ]
        waiting += [link.resolve() for link in links if link.resolve() not in reached]
    assert reached == set(PAGES)


def test_the_door_is_short_enough_to_be_read() -> None:
    text = PAGES[0].read_text()
    assert len(text.split()) <= 900
    assert max(map(len, text.splitlines())) <= 120
    assert not re.search(r"@[A-Z]+@", text), "nothing is left to be filled in"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_of_a_page_is_longer_than_an_editor_is_wide(page: Path) -> None:
    longest = max(re.sub(r"\S+://\S+", "", page.read_text()).splitlines(), key=len)
    assert len(longest) <= 200, longest


def test_commands_of_the_pages_name_scripts_and_configurations_that_exist() -> None:
    for page in PAGES:
        for place in re.findall(r"python ((?:tune_spaces|analysis|benchmarks)/[\w/.]+\w)", page.read_text()):
            assert (ROOT / place).exists(), (page.name, place)


def find_all(pattern: str) -> set[tuple[str, str]]:
    """Find what a pattern's group matches on all pages, with the pages' names."""
    return {(page.name, found) for page in PAGES for found in re.findall(pattern, page.read_text(), re.MULTILINE)}


def test_commands_of_the_pages_are_ones_that_exist() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for kind, found, known in (
        ("make", find_all(r"(?:^    |`)make ([a-z-]+)"), targets),
        ("csg", find_all(r"(?:^    |`)csg ([a-z]+)"), COMMANDS),
        ("recipe", find_all(r"--config ([a-z]\w+)(?=[\s`])"), list_recipes()),
    ):
        assert len(found) > 2, kind
        assert not {(page, name) for page, name in found if name not in known}, kind
    modules = find_all(r"python -m ([\w.]+\w)")
    assert not {(page, name) for page, name in modules if importlib.util.find_spec(name) is None}


def test_files_that_the_pages_name_exist_and_hold_what_the_pages_say() -> None:
    rooms = "|".join(("csg", "tune_spaces", "analysis", "tests", "docs", "examples", "benchmarks"))
    named = find_all(rf"`((?:{rooms})/[\w/.]+)`")
    assert len(named) > 20
    assert not {(page, path) for page, path in named if not (ROOT / path).exists()}
    for page in PAGES:
        for name, path in re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", page.read_text()):
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), (page.name, name, path)


def test_hooks_before_a_commit_or_a_push_are_the_checks_of_the_tests() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["name"]: hook["entry"].removeprefix(".venv/bin/").split() for hook in local["hooks"]}
    quick = {name: [Path(command[0]).name, *command[1:]] for name, command in list_parts((), quick=True).items()}
    del quick["quick tests"]
    assert hooks == quick | {"type checker and quick tests": ["python", "-m", "tests.parts", "--quick"]}
