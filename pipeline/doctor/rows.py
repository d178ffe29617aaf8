"""What a check finds: one row of the doctor's table."""

import dataclasses
from typing import Literal

Status = Literal["ok", "warning", "error"]
_ORDER: tuple[Status, ...] = ("ok", "warning", "error")
MAKE_SETUP = "make setup"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        check: what was looked at.
        status: ok; warning, it works in part or is slow; error, it does not work.
        found: what is there.
        mend: the line that mends it; "" where nothing is to be done.
    """

    check: str
    status: Status
    found: str
    mend: str = ""


def worst(rows: list[Row]) -> Status:
    """Returns the worst status of the rows; ok without any."""
    return max((row.status for row in rows), key=_ORDER.index, default="ok")
