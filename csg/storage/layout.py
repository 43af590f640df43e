"""What lies where below ``train.output``."""

from __future__ import annotations

from typing import Final

TRAINED: Final = "trained"
"""Folder of the runs, one each."""
SEARCHES: Final = "searches"
"""Folder of what searches keep, by experiment and search."""
JOURNAL: Final = "journal.jsonl"
"""File in a search's folder."""
ABLATIONS: Final = "ablations"
"""Folder of what ablations keep, by experiment and ablation."""
