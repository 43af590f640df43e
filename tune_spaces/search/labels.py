"""How a trial is named for people, so that no two trials of a search that differ are named alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from csg.config import Config


def label_trial(config: Config, searched: Mapping[str, Any]) -> str:
    """Return the summary of a trial's configuration, and the searched settings that it does not tell.

    Args:
        config: the trial's.
        searched: its own settings, by dotted name.
    """
    words = re.split(r"[ :*=<]", config.summary)
    untold = []
    for name, value in searched.items():
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        if name.startswith(("method.", "averaging.")) and text in words:
            words.remove(text)  # it tells one setting
        elif not set(text.split("+")) <= set(words):  # stages, which CSG's summary tells one by one
            untold.append(f"{name.partition('.')[2]} {text}")
    return ", ".join([config.summary, *untold])
