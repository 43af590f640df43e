"""What the benchmarks that take a training's settings say of one that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from benchmarks import forgetting, rival_steps


@pytest.mark.parametrize("main", [forgetting.main, rival_steps.main], ids=["forgetting", "rival_steps"])
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--optim.lr", "no"], "error: --optim.lr: expected a number, found 'no'"),
        (["--data.name", "glyphs", "--data.root", "nowhere"], "error: data.root: "),
    ],
)
def test_it_ends_in_a_sentence(
    main: Callable[[], int],
    flags: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *flags])
    assert main() == 2
    assert capsys.readouterr().err.startswith(said)
