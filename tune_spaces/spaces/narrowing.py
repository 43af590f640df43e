"""A declared space around a configuration: what is left to search of it, and whether that can be used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from csg.config import Config
from csg.config.settings import describe_unknown, flatten
from csg.messages.errors import UserError
from csg.parsing import build_config, overlay
from tune_spaces.spaces.csg import name_for_every_stage
from tune_spaces.spaces.space import Space


def narrow_space(
    space: Space, config: Config, given: Mapping[str, Any], stated: Collection[str] = frozenset()
) -> Space:
    """Leave out of a space what flags set, of a stage or of every stage, and let it start at the configuration.

    A space that does not follow the configuration starts at its own defaults, but for what ``--config`` states.

    Args:
        space: as it was declared.
        config: defaults, then ``--config``, then flags.
        given: settings that were set by a flag.
        stated: names of settings that ``--config`` or a flag set.

    Raises:
        UserError: a value of the configuration that the space does not hold.
    """
    flat = flatten(config)
    if not space.follows:
        flat = {name: value for name, value in flat.items() if name in stated}
    start = {
        name: flat.get(name_for_every_stage(name)) if flat.get(name) is None else flat[name] for name in space.names
    }
    pinned = {name for name in space.names if given.keys() & {name, name_for_every_stage(name)}}
    return space.without(pinned).with_defaults(start)


def check_space(space: Space, base: Mapping[str, Any], config: Config) -> None:
    """See that a space holds settings of the configured method, and that each bound and each option can be used.

    Args:
        space: what is searched.
        base: settings that are not searched.
        config: the configuration that the space is searched around.

    Raises:
        UserError: names the setting.
    """
    try:
        if "method.name" not in space.names:  # else each point has names of its own
            known = list(flatten(config))
            for name in space.names:
                if name not in known:
                    raise UserError(describe_unknown(name, known))
        space.check_conditions(base)
        for point in space.list_corners(base):
            build_config(overlay(base, point))
    except UserError as error:
        raise UserError(f"--space: does not fit --method.name {config.method.name}: {error}") from None
