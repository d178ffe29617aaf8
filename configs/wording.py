"""Counts in the words of one line."""

from collections import Counter
from collections.abc import Mapping

_MOST_REASONS = 6


def plural(number: int, noun: str) -> str:
    """Returns a number with its noun.

    >>> plural(1, "picture"), plural(1200, "picture")
    ('1 picture', '1,200 pictures')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(counts: Mapping[str, int]) -> str:
    """Returns counts by reason, the most frequent first; of many the rest are only counted.

    >>> listed({"bad_bbox": 2, "bad_area": 1900})
    'bad_area 1,900, bad_bbox 2'
    """
    frequent = Counter(counts).most_common(_MOST_REASONS)
    parts = [f"{code} {count:,}" for code, count in frequent]
    if more := len(counts) - len(parts):
        parts.append(f"and {more} more {'reason' if more == 1 else 'reasons'}")
    return ", ".join(parts)
