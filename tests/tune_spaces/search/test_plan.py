"""What a search decides before it starts: its reference point, what is left to search, its threads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from csg.config.settings import flatten
from csg.messages.console import Console
from csg.parsing import build_config, overlay, parse_flags
from tests.few_images import few_images
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import REFERENCE, Search, is_source_only, plan_search
from tune_spaces.search.script import START, THREADS
from tune_spaces.spaces.narrowing import narrow_space
from tune_spaces.spaces.shipped import SPACES, find_space


def test_a_search_starts_at_what_is_said_of_every_stage_and_a_flag_for_that_leaves_nothing_to_search() -> None:
    config = build_config({"method.weight": 0.5, "method.stage4.weight": 2.0})
    point = narrow_space(SPACES["contrast"], config, given={}).make_point({"method.stages": "3+4"})
    assert (point["method.stage3.weight"], point["method.stage4.weight"]) == (0.5, 2.0)
    left = narrow_space(SPACES["contrast"], config, given={"method.weight": 0.5})
    assert left.names == ("method.temperature", "method.queue_size")


def test_source_only_trains_at_the_learning_rates_that_the_configuration_states() -> None:
    config = build_config({"data.name": "folders", "optim.lr": 1e-3, "data.augmentation": "none"})
    space = narrow_space(find_space("", method="csg", data=config.data), config, given={})
    base = {name: value for name, value in flatten(config).items() if name not in space.names}
    get_reference = cast(Any, Search.reference).fget
    reference = get_reference(SimpleNamespace(config=config, space=space, base=base))
    trained = build_config(overlay(base, reference))
    assert (trained.method.name, trained.optim.lr, trained.data.augmentation) == ("source_only", 1e-3, "none")
    assert get_reference(SimpleNamespace(config=trained, space=space, base=base)) is None, "the default setting is it"


def test_a_searchs_reference_is_source_only_without_an_average() -> None:
    changes = REFERENCE
    averaged = build_config({"averaging.name": "swad"})
    reference = build_config(overlay(flatten(averaged), changes))
    assert is_source_only(reference) and not is_source_only(averaged)
    assert not is_source_only(build_config({"method.name": "source_only", "averaging.name": "wise_ft"}))


@pytest.mark.parametrize(("argv", "trials", "fresh"), [([], THREADS, 1), (["--train.threads", "3"], 3, 3)])
def test_fresh_runs_have_one_thread_each_unless_somebody_says_otherwise(
    argv: list[str], trials: int, fresh: int
) -> None:
    flags = parse_flags(SearchOptions, [*few_images(), *argv], prog="", description="", base=START)
    search = plan_search(flags, Console())
    assert (search.config.train.threads, search.fresh_threads) == (trials, fresh)
