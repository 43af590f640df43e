"""The position of a setting's values between 0 and 1, on a linear, logarithmic or categorical scale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.ticker import MaxNLocator

DECADES = 2
"""A positive quantity whose values span so many decades has a logarithmic scale."""
FEW = 6
"""Up to so many different numbers, each has its own tick."""
CROWDED = 0.09
"""The smallest distance of two ticks."""


@dataclass(frozen=True)
class Scale:
    """The scale of one setting, derived from the values that occur."""

    kind: Literal["linear", "log", "category"]
    numbers: tuple[float, ...] = ()
    """The different values of a number, ascending."""
    categories: tuple[str, ...] = ()
    """The labels of a category, in alphabetical order."""

    @classmethod
    def of(cls, values: Iterable[Any], *, logarithmic: bool = False) -> Scale:
        """Derive the scale: linear or logarithmic for numbers, categorical for anything else.

        Args:
            values: those that occur.
            logarithmic: whether the setting is searched logarithmically, so that positive numbers have such a scale
                however few decades they span.
        """
        values = list(values)
        if not all(_is_number(value) for value in values):
            return cls("category", categories=tuple(sorted({format_category(value) for value in values})))
        numbers = tuple(sorted(set(values)))
        fewest = 0 if logarithmic else DECADES
        wide = bool(numbers) and numbers[0] > 0 and math.log10(numbers[-1] / numbers[0]) >= fewest
        return cls("log" if wide else "linear", numbers=numbers)

    @property
    def constant(self) -> bool:
        """Whether no two values differ."""
        return len(self.numbers or self.categories) < 2

    def compute_position(self, value: Any) -> float:
        """Return a value's position, from 0 for the lowest (or first) to 1. A lone value is in the middle."""
        if self.constant:
            return 0.5
        if self.kind == "category":
            return self.categories.index(format_category(value)) / (len(self.categories) - 1)
        low, high = self.numbers[0], self.numbers[-1]
        if self.kind == "log":
            value, low, high = math.log(value), math.log(low), math.log(high)
        return float((value - low) / (high - low))

    def choose_ticks(self) -> list[tuple[float, str]]:
        """Return positions and texts of the ticks: every category, or a number's ends and round values between."""
        if self.kind == "category":
            return [(self.compute_position(text), text) for text in self.categories]
        kept: dict[float, float] = {}
        for number in self._choose_tick_numbers():
            position = self.compute_position(number)
            if all(abs(position - other) >= CROWDED for other in kept.values()):
                kept[number] = position
        texts = _format_numbers(list(kept))
        return sorted(zip(kept.values(), texts, strict=True))

    def _choose_tick_numbers(self) -> list[float]:
        """Return the numbers that may have a tick, the most important first."""
        if not self.numbers:
            return []
        low, high = self.numbers[0], self.numbers[-1]
        if len(self.numbers) <= FEW:
            between = list(self.numbers)
        elif self.kind == "log":
            between = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        else:
            between = [float(number) for number in MaxNLocator(4).tick_values(low, high)]
        if all(number == int(number) for number in self.numbers):
            between = [number for number in between if number == int(number)]
        return list(dict.fromkeys([low, high, *(number for number in between if low < number < high)]))


def format_category(value: Any) -> str:
    """Return a category's text, with truth values as YAML writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _format_numbers(numbers: list[float]) -> list[str]:
    """Write numbers with three digits, or with as many as make them differ."""
    for digits in range(3, 17):
        texts = [str(int(number)) if _is_whole(number) else f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(texts):
            return texts
    return [repr(number) for number in numbers]


def _is_whole(number: float) -> bool:
    return number == int(number) and abs(number) < 1e7
