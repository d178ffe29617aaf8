"""Single values of a COCO file: what they are, and how a message shows them."""

from typing import Any

_INT64_LIMIT = 2**63


def integer(value: Any) -> int | None:
    """Returns an integer of 64 bits; None where `value` is none. 3.0 counts as 3, True does not.

    >>> integer(3.0), integer("3"), integer(True), integer(2**63)
    (3, None, None, None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -_INT64_LIMIT <= value < _INT64_LIMIT else None


def shortened(value: Any) -> str:
    """Returns a value for a message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
