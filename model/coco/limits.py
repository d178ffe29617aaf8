"""Whether so much of a COCO file is left that it may be used: the limits on what is lost."""

from collections import Counter
from typing import NamedTuple

from configs.schema import DataConfig
from ground.errors import DatasetError
from ground.wording import listed, plural
from model.coco.policies import ACCEPT, DROP, MEND, REASONS
from model.coco.tally import Tally


class Origin(NamedTuple):
    """Where pictures and objects come from, for messages.

    Attributes:
        name: what a message begins with.
        annotations: the COCO file.
        pictures: their folder; None where no picture is looked at.
    """

    name: str
    annotations: str
    pictures: str | None = None


class _Limit(NamedTuple):
    """A limit on what any one reason may cost.

    Attributes:
        setting: its key.
        fraction: the limit.
        what: is counted.
        total: how many were read.
        dropped: by reason: what is left out.
        mended: by reason: what is used after a repair that loses something.
        loses: what happens to the latter, for the message.
    """

    setting: str
    fraction: float
    what: str
    total: int
    dropped: Counter[str]
    mended: Counter[str]
    loses: str


def check_losses(origin: Origin, tally: Tally, data: DataConfig) -> None:
    """Checks that a COCO file is fit for use.

    Raises:
        DatasetError: too many pictures are refused, no picture or no object is left, or one
            reason drops, or mends with a loss, too many pictures, objects or masks.
    """
    _check_refused(origin, tally, data.max_rejected_fraction)
    _check_that_something_is_left(origin, tally)
    for limit in _limits(tally, data):
        _check(origin, tally, limit)


def _limits(tally: Tally, data: DataConfig) -> list[_Limit]:
    return [
        _Limit(
            "data.max_dropped_fraction",
            data.max_dropped_fraction,
            "picture",
            tally.pictures_read,
            tally.dropped_pictures,
            tally.lost_pictures,
            "mended with a loss",
        ),
        _Limit(
            "data.max_lost_objects_fraction",
            data.max_lost_objects_fraction,
            "object",
            tally.objects_read,
            tally.dropped_objects,
            tally.lost_objects,
            "mended with a guess",
        ),
        _Limit(
            "data.max_lost_masks_fraction",
            data.max_lost_masks_fraction,
            "mask",
            tally.masks_read,
            Counter(),
            tally.lost_masks,
            "lost",
        ),
    ]


def _check(origin: Origin, tally: Tally, limit: _Limit) -> None:
    most = limit.fraction * max(limit.total, 1)
    lost = limit.dropped + limit.mended
    over = Counter({code: count for code, count in lost.items() if count > most})
    if not over:
        return
    (code, count), *others = over.most_common()
    happens = "dropped" if limit.dropped[code] else limit.loses
    also = f" (likewise {listed(dict(others))})" if others else ""
    raise DatasetError(
        beyond_limit(
            origin.name,
            count,
            limit.total,
            limit.what,
            f"{happens} for {code}{also}",
            (limit.setting, limit.fraction),
            tally.examples.get(code, code),
            f"Mend {origin.annotations}{_way_out(code, limit)}",
        )
    )


def beyond_limit(
    whose: str,
    number: int,
    total: int,
    what: str,
    fate: str,
    limit: tuple[str, float],
    example: str,
    mend: str,
) -> str:
    """Returns the line on a loss beyond its limit.

    Args:
        whose: the data's name.
        number: how many are lost.
        total: how many there were.
        what: noun of one of them.
        fate: what became of them, and why.
        limit: the setting, and the share that it allows.
        example: one of them.
        mend: what to do beside raising the limit.

    >>> beyond_limit("a", 1, 4, "mask", "lost", ("x.y", 0.1), "mask 7", "Mend it")
    'a: 1 of 4 masks is lost, more than x.y 0.1 allows. For example mask 7. Mend it, or raise x.y'
    """
    setting, fraction = limit
    verb = "is" if number == 1 else "are"
    return (
        f"{whose}: {number:,} of {plural(total, what)} {verb} {fate}, more than {setting} "
        f"{fraction:g} allows. For example {example}. {mend}, or raise {setting}"
    )


def _way_out(code: str, limit: _Limit) -> str:
    """Returns the policy under which a reason loses nothing, as a part of the message."""
    reason = REASONS[code]
    if reason.concerns == "object" and limit.what == "mask":
        return f", set data.policies.{code}={ACCEPT}" if ACCEPT in reason.allowed else ""
    loses_nothing = MEND in reason.allowed and reason.loss in ("none", "mask")
    for policy in [*([MEND] if loses_nothing else []), ACCEPT]:
        if policy in reason.allowed:
            return f", set data.policies.{code}={policy}"
    return ""


def _check_refused(origin: Origin, tally: Tally, max_rejected_fraction: float) -> None:
    refused, read = tally.pictures_refused, tally.pictures_read
    if refused <= max_rejected_fraction * read:
        return
    code, _ = max(tally.refused_pictures.items(), key=lambda item: item[1])
    files = f"{origin.annotations} or {origin.pictures}" if origin.pictures else origin.annotations
    raise DatasetError(
        beyond_limit(
            origin.name,
            refused,
            read,
            "picture",
            f"refused ({listed(tally.refused_pictures)})",
            ("data.max_rejected_fraction", max_rejected_fraction),
            tally.examples[code],
            f"Mend {files}, set data.policies.{code}={DROP} with data.max_dropped_fraction",
        )
    )


def _check_that_something_is_left(origin: Origin, tally: Tally) -> None:
    if not tally.pictures_written:
        read = plural(tally.pictures_read, "picture")
        raise DatasetError(f"{origin.name}: none of {read} is left ({listed(tally.reasons)})")
    if tally.objects_read and not tally.objects_written:
        read = plural(tally.objects_read, "object")
        code = (tally.dropped_objects or tally.objects_with_pictures).most_common(1)[0][0]
        raise DatasetError(
            f"{origin.name}: none of {read} is left ({listed(tally.reasons)}): do "
            f"`images`, `annotations` and `categories` of {origin.annotations} belong together? "
            f"For example {tally.examples[code]}"
        )
