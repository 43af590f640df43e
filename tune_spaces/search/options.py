"""The flags of every search."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field

from csg.config.settings import Count
from csg.parsing import StoreOptions
from csg.training.selection import Protocol


@dataclasses.dataclass(frozen=True)
class SearchOptions(StoreOptions):
    """Flags of a search."""

    num_samples: Annotated[int, Field(ge=2)] = 12
    """Trials in all, the two reference points among them."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the sampler (trials use train.seed)."""
    concurrency: Annotated[int, Field(ge=0)] = 0
    """Trials at a time; 0 fills the CPUs, but keeps at least four rounds so that the sampler can learn."""
    time_budget: float = 0.0
    """Minutes after which the search ends cleanly; 0 means none."""
    protocol: Protocol | None = None
    """What the search may look at (short for --selection.protocol; unless that or --config says otherwise, unlabelled,
    and source where there are no real images)."""
    resume: bool = False
    """Refuse to start a new search: go on with an interrupted one, or show a finished one. (Without this flag, the same
    command does so too, and starts a search where there is none.)"""
    confirm_top: Annotated[int, Field(ge=0)] | None = None
    """When the search has finished, train its so many best trials, the default setting and source only again under
    fresh seeds, for a verdict; 0 for none (unset: 1 on the bundled pairs, else 0)."""
    seeds: Count = 3
    """Fresh seeds of --confirm-top."""
    space: str = ""
    """What is searched (default: the method's own space on the pair): one of those in tune_spaces/spaces/shipped.py,
    such as csg, contrast, stages, learning_rates, epochs or a rival's name; or module:SPACE or path/file.py:SPACE."""
