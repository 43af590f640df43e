"""A search space: each parameter with its default and its range on one line, conditions included."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from csg.messages.errors import UserError
from csg.storage.files import digest_file

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Condition = Callable[[Mapping[str, Any]], bool]
COMBINATIONS: Final = 256
"""Combinations of options at which conditions are asked before a search starts."""


@dataclass(frozen=True)
class Float:
    """A number, drawn uniformly or log-uniformly.

    A ``relative`` range moves with the default: where a configuration says 0.001 times the default, bounds are 0.001
    times as large too. So a learning rate is searched around the recipe's own.

    Raises:
        UserError: bounds that are no range, or a default outside them.
    """

    name: str
    default: float
    low: float
    high: float
    log: bool = False
    relative: bool = False
    when: Condition | None = None

    def __post_init__(self) -> None:
        _check_name_and_condition(self)
        for what in ("default", "low", "high"):
            value = getattr(self, what)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise UserError(f"{self.name}: expected a finite number as {what}, found {value!r}")
            object.__setattr__(self, what, float(value))
        if self.low > self.high:
            raise UserError(f"{self.name}: expected low to be at most high, found {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise UserError(f"{self.name}: expected low to be more than 0 with log=True, found {self.low:g}")
        if self.relative and self.default <= 0:
            raise UserError(f"{self.name}: expected a default above 0 with relative=True, found {self.default:g}")
        _check_default(self)

    def with_default(self, value: Any) -> Float:
        """Return the parameter with another default, and a relative range with it.

        Raises:
            UserError: the range does not hold it.
        """
        scale = value / self.default if self.relative and isinstance(value, (int, float)) else 1.0
        return dataclasses.replace(self, default=value, low=self.low * scale, high=self.high * scale)

    def suggest(self, trial: BaseTrial) -> float:
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
    """One of several values, each a text, a number, True, False or None.

    ``relative`` options are whole numbers above 0 that move with the default: where a configuration says twice the
    default, they are twice as large too, rounded.

    Raises:
        UserError: options that are none, or a default that is none of them.
    """

    name: str
    default: Any
    options: tuple[Any, ...]
    when: Condition | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        _check_name_and_condition(self)
        if not isinstance(self.options, (tuple, list)) or not self.options:
            raise UserError(f"{self.name}: expected at least one option, in a tuple, found {self.options!r}")
        object.__setattr__(self, "options", tuple(self.options))
        for place, option in enumerate(self.options):
            if not (option is None or isinstance(option, (str, int, float))):
                raise UserError(f"{self.name}: expected texts, numbers, True, False or None, found {option!r}")
            if self.relative and (isinstance(option, bool) or not isinstance(option, int) or option < 1):
                raise UserError(f"{self.name}: expected whole numbers above 0 with relative=True, found {option!r}")
            if option in self.options[:place]:  # also 1 beside True, which are one option to Optuna
                raise UserError(f"{self.name}: expected options that differ, found {option!r} twice")
        _check_default(self)

    def with_default(self, value: Any) -> Choice:
        """Return the parameter with another default, and relative options with it.

        Raises:
            UserError: it is none of the options.
        """
        options = self.options
        if self.relative and isinstance(value, int):
            moved = (max(1, round(option * value / self.default)) for option in options)
            options = tuple(dict.fromkeys(moved))  # halves of a small number are one
        return dataclasses.replace(self, default=value, options=options)

    def suggest(self, trial: BaseTrial) -> Any:
        """Draw a value."""
        return trial.suggest_categorical(self.name, self.options)

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        kind = isinstance(value, bool)  # True is equal to 1, and another setting
        return any(value == option and isinstance(option, bool) == kind for option in self.options)

    @property
    def log(self) -> bool:
        """Whether the options are numbers above 0, each at least twice the one before."""
        numbers = [each for each in self.options if isinstance(each, (int, float)) and not isinstance(each, bool)]
        if len(numbers) < max(2, len(self.options)) or min(numbers) <= 0:
            return False
        return all(2 * low <= high for low, high in itertools.pairwise(sorted(numbers)))

    @property
    def extent(self) -> str:
        """What can be drawn, for people."""
        return ", ".join(map(repr, self.options))


def _check_name_and_condition(parameter: Float | Choice) -> None:
    if not isinstance(parameter.name, str):
        raise UserError(f"a space: expected a setting's dotted name, found {parameter.name!r}")
    if parameter.when is not None and not callable(parameter.when):
        raise UserError(f"{parameter.name}: expected a function of the point as when, found {parameter.when!r}")


def _check_default(parameter: Float | Choice) -> None:
    if not parameter.holds(parameter.default):
        raise UserError(
            f"{parameter.name}: expected a default that is searched ({parameter.extent}), found {parameter.default!r}"
        )


def _is_active(parameter: Float | Choice, point: Mapping[str, Any]) -> bool:
    """Ask a parameter's condition.

    Raises:
        UserError: the condition raised; it may look at what comes later in the space, or is not active itself.
    """
    if parameter.when is None:
        return True
    try:
        return bool(parameter.when(point))
    except Exception as error:  # whatever a stranger's condition raises
        raise UserError(
            f"{parameter.name}: expected its condition to answer True or False, found {type(error).__name__}: {error}; "
            "a condition sees the settings that are not searched, and the active parameters before its own"
        ) from error


def _name_condition(condition: Condition | None) -> str:
    """Name a condition, and where it is not of this package the text of the module that holds it.

    A dataclass is named with its values, a partial with its arguments.
    """
    if condition is None:
        return repr(condition)
    if isinstance(condition, functools.partial):
        given = [*condition.args, *(each for pair in sorted(condition.keywords.items()) for each in pair)]
        names = [_name_condition(each) if callable(each) else repr(each) for each in given]
        return " ".join([_name_condition(condition.func), *names])
    module = getattr(condition, "__module__", "")
    name = f"{module}.{getattr(condition, '__qualname__', type(condition).__qualname__)}"
    if dataclasses.is_dataclass(condition):
        name = repr(condition)
    file: str | None = getattr(sys.modules.get(module), "__file__", None)
    return name if file is None or module.startswith(f"{__package__}.") else f"{name} {digest_file(file)[:12]}"


@dataclass(frozen=True)
class Space:
    """Parameters in an order in which conditions only look back.

    Raises:
        UserError: something else than parameters, or two of one name.
    """

    parameters: tuple[Float | Choice, ...]
    follows: bool = False
    """Whether the configuration's values are the defaults also where nobody set them. The shipped spaces follow: their
    own defaults are those of one pair, and a pair has its own (``csg.config.pairs``)."""

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, (tuple, list)):
            raise UserError(f"a space: expected a tuple of parameters, found {self.parameters!r}")
        object.__setattr__(self, "parameters", tuple(self.parameters))
        for parameter in self.parameters:
            if not isinstance(parameter, (Float, Choice)):
                raise UserError(f"a space: expected parameters (Float or Choice), found {parameter!r}")
        for name in self.names:
            if (count := self.names.count(name)) > 1:
                raise UserError(f"{name}: expected one parameter of this name in the space, found {count}")

    @property
    def names(self) -> tuple[str, ...]:
        """The searched settings."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def logarithmic(self) -> tuple[str, ...]:
        """The searched settings that are drawn log-uniformly, or from numbers each at least twice the one before."""
        return tuple(each.name for each in self.parameters if each.log)

    def without(self, pinned: Collection[str]) -> Space:
        """Leave out what the user has set."""
        left = tuple(parameter for parameter in self.parameters if parameter.name not in pinned)
        return dataclasses.replace(self, parameters=left)

    def with_defaults(self, settings: Mapping[str, Any]) -> Space:
        """Return the space with the values of ``settings`` as defaults: its default trial is what they say.

        Raises:
            UserError: a value that the space does not hold.
        """
        moved: list[Float | Choice] = []
        for parameter in self.parameters:
            value = settings.get(parameter.name)
            try:
                moved.append(parameter if value is None else parameter.with_default(value))
            except UserError:
                raise UserError(
                    f"{parameter.name}: the space searches {parameter.extent}, found {value!r}; set it with a flag to "
                    "keep it out of the search, or bring a space of your own (--space module:SPACE)"
                ) from None
        return dataclasses.replace(self, parameters=tuple(moved))

    def list_corners(self, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the point of all defaults, and points that take each bound and each option once."""
        yield self.make_point(fixed)
        for parameter in self.parameters:
            for value in (parameter.low, parameter.high) if isinstance(parameter, Float) else parameter.options:
                yield self.make_point(fixed, {parameter.name: value})

    def check_conditions(self, fixed: Mapping[str, Any]) -> None:
        """Ask every condition at points that combine the options in all ways, or in COMBINATIONS of them.

        Raises:
            UserError: one raised.
        """
        choices = {p.name: p.options for p in self.parameters if isinstance(p, Choice)}
        for options in itertools.islice(itertools.product(*choices.values()), COMBINATIONS):
            self.make_point(fixed, dict(zip(choices, options, strict=True)))

    def describe(self) -> list[str]:
        """Describe each parameter in text that is the same in every process."""
        return [f"{dataclasses.replace(p, when=None)!r} {_name_condition(p.when)}" for p in self.parameters]

    def make_point(self, fixed: Mapping[str, Any], chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the point of all defaults but for what is ``chosen``, inactive parameters left out.

        Args:
            fixed: settings outside the space, which conditions may look at.
            chosen: values of parameters.
        """
        return self._walk(fixed, lambda parameter: (chosen or {}).get(parameter.name, parameter.default))

    def suggest(self, fixed: Mapping[str, Any], trial: BaseTrial) -> None:
        """Draw a point through an Optuna trial, inactive parameters left out (Optuna's define-by-run)."""
        self._walk(fixed, lambda parameter: parameter.suggest(trial))

    def _walk(self, fixed: Mapping[str, Any], choose: Callable[[Float | Choice], Any]) -> dict[str, Any]:
        """Choose a value of each parameter that is active, given those before it."""
        point: dict[str, Any] = {}
        for parameter in self.parameters:
            if _is_active(parameter, {**fixed, **point}):
                point[parameter.name] = choose(parameter)
        return point
