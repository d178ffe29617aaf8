"""Every way a COCO record can be wrong: a reason code, what may be done, and what is done.

A policy says what happens to a flawed record; each flaw is counted, whatever its policy:

- `accept`: it is used as it is.
- `mend`: it is used after the repair that the table names.
- `drop`: the object (where the picture is flawed: the picture with its objects) is left out.
- `refuse`: the picture with all its objects is left out, and counts against
  `data.max_rejected_fraction`.

What is left out is kept whole, with its reason, in `rejects.jsonl`. What is dropped, and what
mending loses, counts against limits of its own (`data.max_dropped_fraction`,
`data.max_lost_objects_fraction`, `data.max_lost_masks_fraction`).
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Literal, NamedTuple, NoReturn

from configs.schema import Policy
from ground.errors import ConfigError

ACCEPT: Policy = "accept"
MEND: Policy = "mend"
DROP: Policy = "drop"
REFUSE: Policy = "refuse"

# What mending loses: a part of the picture, a part of the object, its mask (or a part of it), a
# number (a value was guessed), or nothing. A number that is guessed for a picture has no limit.
Loss = Literal["picture", "object", "mask", "number", "none"]


@dataclasses.dataclass(frozen=True)
class Reason:
    """One kind of flaw.

    Attributes:
        code: its name in configs, rejects and summaries.
        meaning: one line.
        default: the policy unless the config says otherwise.
        allowed: the policies that can be asked for.
        repair: what `mend` does, where it is allowed.
        loss: what `mend` loses, where it is allowed; else None. What is lost counts against a
            limit.
        concerns: whether it is a picture or an object that has the flaw.
    """

    code: str
    meaning: str
    default: Policy
    allowed: tuple[Policy, ...]
    repair: str = ""
    loss: Loss | None = None
    concerns: Literal["picture", "object"] = "object"

    def __post_init__(self) -> None:
        """Checks that a repair says what it loses.

        Raises:
            ValueError: it does not.
        """
        if (MEND in self.allowed) != (self.loss is not None):
            raise ValueError(f"{self.code}: a reason that can be mended says what that loses")


def _picture(
    code: str,
    meaning: str,
    default: Policy = REFUSE,
    *more: Policy,
    repair: str = "",
    loss: Loss | None = None,
) -> Reason:
    """Returns a flaw of a picture; `more` are policies besides the default, drop and refuse."""
    return Reason(code, meaning, default, _allowed(default, *more), repair, loss, "picture")


def _object(
    code: str,
    meaning: str,
    default: Policy = DROP,
    *more: Policy,
    repair: str = "",
    loss: Loss | None = None,
) -> Reason:
    """Returns a flaw of an object; `more` are policies besides the default, drop and refuse."""
    return Reason(code, meaning, default, _allowed(default, *more), repair, loss)


def _allowed(*policies: Policy) -> tuple[Policy, ...]:
    """Returns these policies, drop and refuse, in their order."""
    allowed = {*policies, DROP, REFUSE}
    return tuple(policy for policy in (ACCEPT, MEND, DROP, REFUSE) if policy in allowed)


_ALL = (
    _picture(
        "bad_picture_record",
        "the entry in `images` has no integer id, no file name, or no positive height and width",
    ),
    _picture(
        "picture_numbers_in_other_form",
        "its `id`, `height` or `width` is a whole number as text or with a point",
        MEND,
        repair="the number that is meant",
        loss="none",
    ),
    _picture("duplicate_image_id", "an earlier entry in `images` has the same id"),
    _picture(
        "path_outside_folder",
        "the file name leads out of the picture folder (absolute, `..`, a symbolic link)",
        REFUSE,
        ACCEPT,
    ),
    _picture("picture_missing", "there is no such file"),
    _picture("picture_unreadable", "the file cannot be read, or not be decoded to its end"),
    _picture(
        "picture_damaged",
        "the file can be decoded, but part of its picture is missing or no picture",
        REFUSE,
        ACCEPT,
    ),
    _picture(
        "picture_without_end",
        "the file lacks its end marker; all of its rows are there (webcams)",
        MEND,
        repair="the end marker is added",
        loss="none",
    ),
    _picture(
        "picture_metadata_damaged",
        "a checksum of what a PNG holds beside its picture is wrong; the picture is whole",
        ACCEPT,
    ),
    _picture("picture_format_unsupported", "the file is, by its content, neither JPEG nor PNG"),
    _picture(
        "picture_too_large", "height x width exceeds `data.max_picture_pixels`, or the file 1 GiB"
    ),
    _picture(
        "picture_size_differs",
        "the file has another size than the entry in `images` says",
        REFUSE,
        MEND,
        repair="the file's size holds; boxes are pixels of it",
        loss="number",
    ),
    _picture(
        "exif_turned",
        "EXIF asks to turn the picture; the COCO file gives its size before the turn",
        ACCEPT,
        MEND,
        repair="if the turn keeps the size, the turned picture is stored, and boxes are of it",
        loss="number",
    ),
    _picture(
        "exif_size_swapped",
        "EXIF asks to turn the picture; the COCO file gives its size after the turn",
        MEND,
        repair="the turned picture is stored, as a JPEG of quality 95 without EXIF",
        loss="none",
    ),
    _picture(
        "picture_name_in_other_form",
        "the file's name differs in backslashes or in the Unicode form of its letters",
        MEND,
        repair="that file is taken",
        loss="none",
    ),
    _picture(
        "picture_ending_differs",
        "there is no such file, but one in its folder that differs in its ending or in upper and "
        "lower case alone",
        REFUSE,
        MEND,
        repair="that file is taken",
        loss="none",
    ),
    Reason(
        "bad_annotation",
        "the entry in `annotations` is no JSON object, or one with a key twice",
        DROP,
        (DROP,),
    ),
    Reason("unknown_image", "its `image_id` is not in `images`", DROP, (DROP,)),
    _object(
        "bad_annotation_id",
        "its `id` is missing or no integer",
        MEND,
        repair="minus its place in the file, counted from 1",
        loss="none",
    ),
    _object("duplicate_annotation_id", "an earlier annotation has the same id", ACCEPT),
    _object(
        "ids_in_other_form",
        "its `id`, `image_id` or `category_id` is a whole number as text or with a point",
        MEND,
        repair="the number that is meant",
        loss="none",
    ),
    _object(
        "numbers_in_other_form",
        "its `bbox`, or numbers of its `bbox`, `area` or `segmentation`, are written as text",
        MEND,
        repair="the numbers that are meant",
        loss="none",
    ),
    _object(
        "flag_in_other_form",
        "its `iscrowd` is true, false, or 0 or 1 as text or with a point",
        MEND,
        repair="the flag that is meant",
        loss="none",
    ),
    _object(
        "null_for_missing",
        "its `iscrowd`, `area` or `segmentation` is null",
        MEND,
        repair="as if it were missing: no crowd, the box's area, no mask",
        loss="none",
    ),
    _object("unknown_category", "its `category_id` is not in `categories`"),
    _object("bad_bbox", "its `bbox` is not four numbers within ±10⁹, or missing without a mask"),
    _object(
        "box_missing",
        "it has a mask and no `bbox`",
        MEND,
        repair="the box around its polygons, or around its run lengths",
        loss="none",
    ),
    _object(
        "box_in_other_form",
        "its `bbox` is an object with names for the four numbers, or has a list around it too many",
        MEND,
        repair="the box that is meant",
        loss="none",
    ),
    _object("box_without_area", "its width or height is not positive", DROP, ACCEPT),
    _object("box_outside", "its box lies wholly outside the picture", DROP, ACCEPT),
    _object(
        "box_crosses_border",
        "its box reaches over the picture's border by more than 0.01 pixels",
        MEND,
        repair="the normalised box is clipped; `image/object/coco` keeps the numbers as they are",
        loss="none",
    ),
    _object(
        "area_missing",
        "it has no `area`",
        MEND,
        repair="width x height of its box",
        loss="none",
    ),
    _object(
        "bad_area",
        "its `area` is no finite number, or negative",
        MEND,
        repair="width x height of its box",
        loss="none",
    ),
    _object("bad_iscrowd", "its `iscrowd` means neither 0 nor 1 (a missing one means 0)"),
    _object(
        "bad_segmentation",
        "its `segmentation` is neither polygons nor a run-length code of the picture's size",
        MEND,
        repair="the object is kept without a mask",
        loss="mask",
    ),
    _object(
        "mask_in_other_form",
        "its `segmentation` has a list too many or too few, corners as pairs or with names, no "
        "size, or is the text of a list, of a code or of Python's bytes",
        MEND,
        repair="the mask that is meant",
        loss="none",
    ),
    _object(
        "bad_ring",
        "some of its polygons are none (2 corners, not numbers, far outside), others are",
        MEND,
        repair="the mask is drawn of the others",
        loss="none",  # the object keeps its mask: two corners draw no pixel
    ),
    _object(
        "mask_without_pixels",
        "its `segmentation` draws no pixel",
        ACCEPT,
        MEND,
        repair="the object is kept without a mask",
        loss="mask",
    ),
)

REASONS: Mapping[str, Reason] = {reason.code: reason for reason in _ALL}


class Flaw(NamedTuple):
    """A flaw that was found: its code, the policy that was applied, and what exactly is wrong."""

    code: str
    policy: Policy
    detail: str


class LeftOut(Exception):
    """A flaw's policy leaves the record out; the flaw is the last one noted."""


class Judge:
    """Notes the flaws of one record and applies their policies."""

    def __init__(self, policies: Mapping[str, Policy]):
        self._policies = policies
        self.flaws: list[Flaw] = []

    def note(self, code: str, detail: str, is_mendable: bool = True) -> bool:
        """Notes a flaw, once a record, and returns whether it is to be mended.

        Args:
            code: its reason.
            detail: what exactly is wrong.
            is_mendable: whether the repair is for this record; one that it is not for is accepted.

        Raises:
            LeftOut: its policy is to drop or to refuse.
        """
        policy = self._policies[code]
        if policy == MEND and not is_mendable:
            policy = ACCEPT
        if all(flaw.code != code for flaw in self.flaws):
            self.flaws.append(Flaw(code, policy, detail))
        if policy in (DROP, REFUSE):
            raise LeftOut
        return policy == MEND

    def leave_out(self, code: str, detail: str) -> NoReturn:
        """Notes a flaw that can only be dropped or refused.

        Raises:
            LeftOut: always.
        """
        self.note(code, detail)
        raise LeftOut


def resolve_policies(changes: Mapping[str, Policy]) -> dict[str, Policy]:
    """Returns the policy of every reason code, the defaults changed by `data.policies`.

    >>> resolve_policies({"box_outside": "refuse"})["box_outside"]
    'refuse'

    Raises:
        ConfigError: a code is unknown (the nearest is named), or cannot have that policy.
    """
    for code, policy in changes.items():
        if code not in REASONS:
            nearest = difflib.get_close_matches(code, list(REASONS), 1, 0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "docs/data.md lists them"
            raise ConfigError(f"data.policies: unknown reason code {code!r}: {hint}")
        if policy not in REASONS[code].allowed:
            raise ConfigError(
                f"data.policies.{code}: expected one of {', '.join(REASONS[code].allowed)}, "
                f"got {policy!r}"
            )
    return {code: changes.get(code, reason.default) for code, reason in REASONS.items()}
