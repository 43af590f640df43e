"""The door and the pages behind it: links lead somewhere, and the door stays one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


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


def test_commands_of_the_pages_name_scripts_and_configurations_that_exist() -> None:
    for page in PAGES:
        for place in re.findall(
            r"(?:python |--config )((?:tune_spaces|analysis|configs|benchmarks)/[\w/.]+\w)", page.read_text()
        ):
            assert (ROOT / place).exists(), (page.name, place)
