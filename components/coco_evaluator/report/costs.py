"""What a model costs, in words. Pure."""

from collections.abc import Mapping

_WORDS = {
    "size_mb": "Size of the files",
    "memory_mb": "Most memory of the process that serves it",
    "latency_p50_ms": "Time of a call with one picture, the middle one",
    "latency_p99_ms": "Time of a call with one picture, 99 of 100 within",
}
_UNITS = {"mb": "MB", "ms": "ms", "s": "s", "gb": "GB"}


def cost_lines(costs: Mapping[str, float]) -> list[tuple[str, str]]:
    """Returns (name, value with its unit) of each.

    Args:
        costs: by names that end in their unit.

    Example:
        >>> cost_lines({"size_mb": 51.23, "load_s": 3.0})
        [('Size of the files', '51.2 MB'), ('Load', '3 s')]
    """
    lines = []
    for name, value in costs.items():
        words, _, unit = name.rpartition("_")
        words = _WORDS.get(name) or (words or name).replace("_", " ").capitalize()
        lines.append((words, f"{value:.3g} {_UNITS.get(unit, '')}".strip()))
    return lines
