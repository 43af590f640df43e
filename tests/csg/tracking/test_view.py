"""Descriptions in MLflow's pages, which are Markdown."""

from __future__ import annotations

from csg.tracking.view import escape_markdown, make_note, read_description


def test_a_summary_is_shown_as_it_is() -> None:
    assert escape_markdown("csg 3:apool*0.1 4:apool*0.2, lr_[a]") == r"csg 3:apool\*0.1 4:apool\*0.2, lr\_\[a\]"
    assert escape_markdown("swad<0.01") == "swad&lt;0.01", "no backslash hides it from MLflow's Markdown"


def test_links_and_verdict_stand_together_and_the_description_is_found_again() -> None:
    note = make_note("/#/view", ["One.", "Two."], "What it is")
    assert note.startswith("[All its runs, the best first](#/view), and [their charts](#/view")
    assert note.endswith(")  \nOne. Two.\n\nWhat it is")
    assert read_description(note) == read_description(make_note("/#/view", [], "What it is")) == "What it is"
