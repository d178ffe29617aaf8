"""When a schedule starts runs: cron expressions as Kubeflow reads them, and intervals.

Kubeflow's expressions have six fields, seconds first (github.com/robfig/cron v1). Of five fields it
would take the first for seconds and leave out the day of the week: `0 3 * * *`, every night at 3 to
all the world, would be three minutes past every hour. So five fields are read as crontab does, and
what is sent always has six. Times are UTC, unless the cluster says otherwise
(CRON_SCHEDULE_TIMEZONE).
"""

import re
from dataclasses import dataclass

from ground.errors import ConfigError

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NICKNAMES = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_INTERVAL = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SHORTEST_SECONDS, _LONGEST_SECONDS = 60, 366 * 86_400


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of the week", 0, 6, tuple(_DAYS)),
)


def checked_cron(text: str) -> str:
    """Returns a cron expression in Kubeflow's six fields.

    >>> checked_cron("0 3 * * mon-fri")
    '0 0 3 * * mon-fri'
    >>> checked_cron("@daily")
    '0 0 0 * * *'

    Raises:
        ConfigError: it is none, or a time that never comes.
    """
    fields = _NICKNAMES.get(text.strip().lower(), text).split()
    if len(fields) not in (5, 6):
        raise ConfigError(
            f"--cron {text!r}: expected five fields (minute hour day month weekday), such as "
            "'0 3 * * *' for every night at 3, or six with seconds first"
        )
    if len(fields) == 5:
        fields = ["0", *fields]
    values = [_values(text, part, field) for part, field in zip(fields, _FIELDS, strict=True)]
    days, months = values[3], values[4]
    # Where both are given, either day will do.
    by_weekday = not _is_any(fields[5])
    if not by_weekday and not any(min(days) <= _LONGEST_MONTHS[month - 1] for month in months):
        raise ConfigError(f"--cron {text!r}: no such day ever comes")
    return " ".join(fields)


def _is_any(text: str) -> bool:
    return text[0] in "*?"


def _values(text: str, part: str, field: _Field) -> list[int]:
    """Returns the values that one field stands for."""
    found: set[int] = set()
    for term in part.split(","):
        scope, slash, step = term.partition("/")
        first, hyphen, last = scope.partition("-")
        if scope in ("*", "?"):
            low, high = field.low, field.high
        else:
            low = _value(text, first, field)
            high = _value(text, last, field) if hyphen else (field.high if slash else low)
        if slash and (not step.isascii() or not step.isdigit() or not int(step)):
            raise ConfigError(f"--cron {text!r}: {term!r} is no {field.name}: bad step {step!r}")
        if low > high:
            raise ConfigError(
                f"--cron {text!r}: {term!r} is no {field.name}: ends before it begins"
            )
        found.update(range(low, high + 1, int(step) if slash else 1))
    return sorted(found)


def _value(text: str, word: str, field: _Field) -> int:
    if word.lower() in field.names:
        return field.names.index(word.lower()) + field.low
    if word.isascii() and word.isdigit() and field.low <= int(word) <= field.high:
        return int(word)
    names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    hint = " (Sunday is 0)" if field.low == 0 and field.names and word == "7" else ""
    raise ConfigError(
        f"--cron {text!r}: {word!r} is no {field.name}: expected {field.low} to {field.high}"
        f"{names}{hint}"
    )


def interval_seconds(text: str) -> int:
    """Returns the seconds of an interval.

    >>> interval_seconds("6h")
    21600

    Raises:
        ConfigError: it is none, or no useful one.
    """
    found = _INTERVAL.fullmatch(text.strip())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise ConfigError(
            f"--every {text!r}: expected a number and s, m, h, d or w, such as 6h or 1d, from a "
            "minute to a year"
        )
    return seconds
