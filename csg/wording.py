"""Numbers with the noun that they count, as a person reads them."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """Write a number and what it counts: ``1 run``, ``1,204 images``, ``0 classes``.

    Args:
        count: how many there are.
        noun: what one of them is called.
        plural: what several are called, where neither -s nor -es makes it.
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {plural or noun + ('es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's')}"
