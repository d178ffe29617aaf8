"""Counts in words, a line each."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_MOST_REASONS = 6
_MOST_LINES = 10  # on the screen; the summary has all


def plural(number: int, noun: str) -> str:
    """Returns a number with its noun.

    >>> plural(1, "picture"), plural(1200, "picture")
    ('1 picture', '1,200 pictures')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Returns a time as people read it.

    >>> duration(65.4), duration(3 * 3600 + 5)
    ('1:05', '3:00:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def quoted(name: str, others: Iterable[str]) -> str:
    r"""Returns a name in quotes, by its codes where another one looks the same.

    >>> quoted("caf\u00e9", ["tea"]), quoted("caf\u00e9", ["cafe\u0301"])
    ("'café'", "'caf\\xe9'")
    """
    form = unicodedata.normalize("NFC", name)
    alike = any(o != name and unicodedata.normalize("NFC", o) == form for o in others)
    return ascii(name) if alike else repr(name)


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


def part_line(part: Mapping[str, Any]) -> str:
    """Returns what a split has of a file that is split, of a summary's `part`.

    >>> part_line({"asked": 0.1, "pictures": 52, "of": 500, "seed": 0})
    '52 of 500 pictures (data.split asks for 0.1)'
    """
    line = f"{part['pictures']:,} of {plural(part['of'], 'picture')}"
    if "group" in part:
        line += f" in {part['groups']:,} of {plural(part['of_groups'], 'group')} '{part['group']}'"
    return f"{line} (data.split asks for {part['asked']:g})"


def sources_line(sources: Mapping[str, Mapping[str, int]]) -> str:
    """Returns what of a split comes from which source, of a summary's `sources`.

    >>> sources_line({"day.json": {"pictures": 2, "objects": 5}})
    'of day.json: 2 pictures with 5 objects'
    """
    parts = [
        f"of {name}: {plural(of['pictures'], 'picture')} with {plural(of['objects'], 'object')}"
        for name, of in list(sources.items())[:_MOST_LINES]
    ]
    if more := len(sources) - len(parts):
        parts.append(f"and of {plural(more, 'more source')}")
    return "; ".join(parts)


def class_line(classes: Mapping[str, Any]) -> str:
    """Returns what became of a file's classes, of a summary's `classes`.

    >>> class_line({"merged": {"vehicle": {"car": 12, "van": 3}}, "not_kept": {"dog": 1}})
    'objects by data.classes: vehicle (car 12, van 3); not kept: dog 1'
    """
    merged = [f"{name} ({listed(parts)})" for name, parts in classes["merged"].items()]
    lines = [", ".join(merged)] if merged else []
    if classes["not_kept"]:
        lines.append(f"not kept: {listed(classes['not_kept'])}")
    return f"objects by data.classes: {'; '.join(lines) or 'as in the file'}"


def made_lines(summary: Mapping[str, Any]) -> list[str]:
    """Returns lines on what the config made of the files: the sources, the part, the classes."""
    forms = (("sources", sources_line), ("part", part_line), ("classes", class_line))
    return [line_of(summary[key]) for key, line_of in forms if summary.get(key)]


def reason_lines(summary: Mapping[str, Any]) -> list[str]:
    """Returns a line for each of the most frequent reasons of a `Tally.summary`."""
    counts = sorted(summary["reasons"].items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{code} {count:,}{_done(summary, code)}" for code, count in counts[:_MOST_LINES]]
    if rest := counts[_MOST_LINES:]:
        flaws = sum(count for _, count in rest)
        them = ("reason", "it") if len(rest) == 1 else ("reasons", "them")
        lines.append(f"{len(rest)} more {them[0]} {flaws:,} (summary.json lists {them[1]})")
    return lines


def _done(summary: Mapping[str, Any], code: str) -> str:
    """Returns what was done about a reason's records, in brackets; "" where they are as before."""
    rejected = summary["rejected"]
    parts = [
        f"{plural(number, noun)} left out"
        for noun, number in (
            ("picture", rejected["pictures"].get(code, 0)),
            ("object", rejected["objects"].get(code, 0)),
        )
        if number
    ]
    if mended := summary["mended"].get(code, 0):
        parts.append(f"{mended:,} mended")
    return f" ({', '.join(parts)})" if parts else ""
