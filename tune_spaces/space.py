"""A search space: each parameter with its default and its range on one line, conditions included."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from csg.settings import ConfigError

Condition = Callable[[Mapping[str, Any]], bool]


class OptunaTrial(Protocol):
    """What is asked of an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw a number."""

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """Draw one of several."""


@dataclass(frozen=True)
class Float:
    """A number, drawn uniformly or log-uniformly.

    A ``relative`` range moves with the default: where a configuration says 0.001 times the default, bounds are 0.001
    times as large too. So a learning rate is searched around the recipe's own.
    """

    name: str
    default: float
    low: float
    high: float
    log: bool = False
    relative: bool = False
    when: Condition | None = None

    def moved_to(self, value: float) -> Float:
        """Return the parameter with another default, and a relative range with it."""
        scale = value / self.default if self.relative else 1.0
        return dataclasses.replace(self, default=value, low=self.low * scale, high=self.high * scale)

    def suggest(self, trial: OptunaTrial) -> float:
        """Draw a value."""
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        return bool(self.low <= value <= self.high)

    @property
    def extent(self) -> str:
        """What can be drawn, for people."""
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    name: str
    default: Any
    options: tuple[Any, ...]
    when: Condition | None = None

    def moved_to(self, value: Any) -> Choice:
        """Return the parameter with another default."""
        return dataclasses.replace(self, default=value)

    def suggest(self, trial: OptunaTrial) -> Any:
        """Draw a value."""
        return trial.suggest_categorical(self.name, self.options)

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        return value in self.options

    @property
    def extent(self) -> str:
        """What can be drawn, for people."""
        return ", ".join(map(repr, self.options))


def _named(condition: Condition | None) -> str:
    if condition is None or dataclasses.is_dataclass(condition):
        return repr(condition)
    return f"{getattr(condition, '__module__', '')}.{getattr(condition, '__qualname__', type(condition).__qualname__)}"


@dataclass(frozen=True)
class Space:
    """Parameters in an order in which conditions only look back."""

    parameters: tuple[Float | Choice, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The searched settings."""
        return tuple(parameter.name for parameter in self.parameters)

    def without(self, pinned: Collection[str]) -> Space:
        """Leave out what the user has set."""
        return Space(tuple(parameter for parameter in self.parameters if parameter.name not in pinned))

    def starting_at(self, settings: Mapping[str, Any]) -> Space:
        """Take the defaults from ``settings`` where they have a value: the default trial is then what they say.

        Raises:
            ConfigError: a value that the space does not hold.
        """
        moved = []
        for original in self.parameters:
            value = settings.get(original.name)
            parameter = original if value is None else original.moved_to(value)
            if value is not None and not parameter.holds(value):
                raise ConfigError(
                    f"{parameter.name}: the space searches {parameter.extent}, found {value!r}; set it with a flag to "
                    "keep it out of the search, or bring a space of your own (--space module:SPACE)"
                )
            moved.append(parameter)
        return Space(tuple(moved))

    def corners(self, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the point of all defaults, and points that take each bound and each option once."""
        yield self.defaults(fixed)
        for parameter in self.parameters:
            ends = (parameter.low, parameter.high) if isinstance(parameter, Float) else parameter.options
            for value in ends:
                point = Space(
                    tuple(dataclasses.replace(p, default=value) if p == parameter else p for p in self.parameters)
                )
                yield point.defaults(fixed)

    def description(self) -> list[str]:
        """Describe each parameter in text that is the same in every process."""
        return [f"{dataclasses.replace(p, when=None)!r} {_named(p.when)}" for p in self.parameters]

    def defaults(self, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """Return the point of all defaults, inactive parameters left out.

        Args:
            fixed: settings outside the space, which conditions may look at.
        """
        point: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.when is None or parameter.when({**fixed, **point}):
                point[parameter.name] = parameter.default
        return point

    def suggest(self, fixed: Mapping[str, Any], trial: OptunaTrial) -> None:
        """Draw a point through an Optuna trial, inactive parameters left out (Optuna's define-by-run)."""
        point: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.when is None or parameter.when({**fixed, **point}):
                point[parameter.name] = parameter.suggest(trial)
