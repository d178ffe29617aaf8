"""Names that users gave, as text in figures: of classes, splits and runs."""

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_LABEL = 40
# Neither XML nor a font has them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def label_of(name: str) -> str:
    r"""Returns a name as a figure shows it: in one line, without the middle of a long one.

    >>> label_of("a\nb"), len(label_of("x" * 99))
    ('a b', 40)
    """
    line = _CONTROL.sub(" ", name)
    if len(line) <= LONGEST_LABEL:
        return line
    kept = LONGEST_LABEL - 1  # both ends: some names differ at their end alone
    return f"{line[: kept // 2]}…{line[kept // 2 - kept :]}"


@contextlib.contextmanager
def names_as_they_are(settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Lets matplotlib draw any name: none is read as a formula, and no missing letter is told of.

    An SVG has names as text, which a browser draws with fonts of its own.

    Args:
        settings: further settings of matplotlib.
    """
    import matplotlib

    with (
        matplotlib.rc_context({"text.parse_math": False} | dict(settings or {})),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        yield
