"""Words of messages: numbers with the nouns that they count, and the nearest of several names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def pluralize(count: float, noun: str, plural: str = "") -> str:
    """Write a number and the noun that it counts: ``1 run``, ``1,204 images``, ``0 classes``.

    Args:
        count: the number, which may be a fraction.
        noun: the noun in its singular.
        plural: the plural, where it is not made with -s or -es.
    """
    if count == 1:
        return f"1 {noun}"
    number = f"{count:,}" if isinstance(count, int) else f"{count:,g}"
    return f"{number} {plural or noun + ('es' if noun.endswith(('s', 'x', 'sh')) else 's')}"


def is_or_are(count: float) -> str:
    """Return the verb that agrees with a number."""
    return "is" if count == 1 else "are"


def format_numbers(noun: str, numbers: Iterable[int]) -> str:
    """Write a noun with its numbers, sorted and without repetitions: ``seed 0``, ``seeds 0, 4``, ``seeds 0 to 4``.

    Args:
        noun: the noun in its singular; its plural is made with -s.
        numbers: at least one.
    """
    found = sorted(set(numbers))
    if len(found) == 1:
        return f"{noun} {found[0]}"
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{noun}s {found[0]} to {found[-1]}"
    return f"{noun}s {', '.join(map(str, found))}"


def find_nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that looks most like ``name``; an empty text where none does."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), "")


def name_first(names: Iterable[str], limit: int = 4) -> str:
    """List the first of many names: ``a, b, c, d, and 3 more``; an empty text where there are none."""
    listed = list(names)
    more = f", and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
