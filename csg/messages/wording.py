"""Numbers with the noun that they count, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable


def counted(count: float, noun: str, plural: str = "") -> str:
    """Write a number and what it counts: ``1 run``, ``1,204 images``, ``0 classes``.

    Args:
        count: how many there are; a part of one is possible.
        noun: what one of them is called.
        plural: what several are called, where neither -s nor -es makes it.
    """
    if count == 1:
        return f"1 {noun}"
    number = f"{count:,}" if isinstance(count, int) else f"{count:,g}"
    return f"{number} {plural or noun + ('es' if noun.endswith(('s', 'x', 'sh')) else 's')}"


def is_or_are(count: float) -> str:
    """Return the verb that goes with so many."""
    return "is" if count == 1 else "are"


def numbered(noun: str, numbers: Iterable[int]) -> str:
    """Name things by their numbers, each once and in order: ``seed 0``, ``seeds 0, 4``, ``seeds 0 to 4``.

    Args:
        noun: what one of them is called; several have an -s.
        numbers: at least one.
    """
    found = sorted(set(numbers))
    if len(found) == 1:
        return f"{noun} {found[0]}"
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{noun}s {found[0]} to {found[-1]}"
    return f"{noun}s {', '.join(map(str, found))}"
