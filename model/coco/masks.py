"""COCO's masks: polygons and run lengths, checked before C code sees them.

What pycocotools' C code is given here has been looked at number by number: it trusts lengths,
allocates by the length of a polygon's outline, and reads on past the end of a code.
"""

import ast
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from model.coco.json_text import is_deep
from model.coco.rings import Ring, read_rings
from model.coco.values import integer, meant_integer, shortened, value_in_text

# Pixels of a picture whose masks can be coded: the C code counts in 32 bits.
_MOST_PIXELS = 2**31
# The C code takes some 100 bytes and 100 ns a pixel of outline.
_LONGEST_OUTLINE_PX = 2_000_000
_MOST_RINGS = 10_000
_RINGS_AT_ONCE = 32
_BYTES_TEXT = re.compile(r"""b'[^']*'|b"[^"]*\"""")
_MOST_GROUPS = 7  # of five bits: the lengths of a picture of _MOST_PIXELS need no more


class Mask(NamedTuple):
    """A mask that was read.

    Attributes:
        rle: COCO's compressed run-length code of the whole picture.
        box: [x, y, width, height] around it: of the corners where it is polygons.
        odd_form: what is unusual in the form in which it was written; empty where nothing is.
        text_numbers: whether numbers were written as text.
        bad_rings: what is wrong with the polygons that were left out; empty where none was.
    """

    rle: dict[str, Any]
    box: tuple[float, float, float, float]
    odd_form: str = ""
    text_numbers: bool = False
    bad_rings: str = ""


def is_no_mask(segmentation: Any) -> bool:
    """Returns whether a `segmentation` plainly says that there is none: nothing in any brackets.

    >>> is_no_mask([[], []]), is_no_mask({}), is_no_mask([[], [1]])
    (True, True, False)
    """
    if isinstance(segmentation, list):
        return all(isinstance(inner, list) and is_no_mask(inner) for inner in segmentation)
    return segmentation is None or segmentation in ("", {})


def read_mask(segmentation: Any, height: int, width: int) -> Mask | None:
    """Returns a `segmentation` of a picture in any form that is plainly meant, None where empty.

    Taken are polygons, uncompressed and compressed run lengths, and what `Mask` notes: one
    wrapping too many or too few, corners as pairs or as `{"x", "y"}`, numbers as text, the text of
    Python's bytes as `counts`, and bad polygons among good ones. The mask is what pycocotools
    draws.

    >>> read_mask([[0, 0, 2, 0, 2, 1, 0, 1]], 2, 3).rle
    {'size': [2, 3], 'counts': '01102'}
    >>> read_mask([[]], 2, 3) is None
    True

    Raises:
        ValueError: what is wrong with it.
    """
    if is_no_mask(segmentation):
        return None
    if height * width > _MOST_PIXELS:
        raise ValueError(f"a picture of {height} x {width} pixels is too large for masks")
    if isinstance(segmentation, dict) and "counts" in segmentation:
        return _of_runs([segmentation], height, width, "")
    if isinstance(segmentation, list):
        codes, wrapping = _wrapped_codes(segmentation)
        if codes:
            return _of_runs(codes, height, width, wrapping)
        return _of_rings(segmentation, height, width)
    if isinstance(segmentation, str):
        inner = value_in_text(segmentation)
        if isinstance(inner, list | dict) and not is_deep(inner):
            mask = read_mask(inner, height, width)
            return mask and mask._replace(odd_form=mask.odd_form or "the text of a list or code")
    raise ValueError(f"expected polygons or a run-length code, got {shortened(segmentation)}")


def compressed_rle(segmentation: Any, height: int, width: int) -> dict[str, Any] | None:
    """Returns COCO's compressed RLE of a `segmentation`, None where there is none.

    Raises:
        ValueError: what `read_mask` raises.
    """
    mask = read_mask(segmentation, height, width)
    return None if mask is None else mask.rle


def _wrapped_codes(segmentation: list[Any]) -> tuple[list[dict[str, Any]], str]:
    """Returns the run-length codes in a list, and what is odd about it; none for polygons."""
    inner = segmentation
    while isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], list):
        inner = inner[0]
    if inner and all(isinstance(code, dict) and "counts" in code for code in inner):
        return inner, "a list of run-length codes"
    return [], ""


def _of_rings(segmentation: list[Any], height: int, width: int) -> Mask:
    rings, odd_form = read_rings(segmentation)
    found = [(ring, ring.problem(height, width)) for ring in rings]
    drawable = [ring for ring, problem in found if not problem]
    problems = [problem for _, problem in found if problem]
    if not drawable:
        raise ValueError(problems[0] if problems else "an empty polygon")
    _check_effort(drawable)
    good = [ring.numbers for ring in drawable]
    drawn = [
        coco_mask.merge(coco_mask.frPyObjects(good[n : n + _RINGS_AT_ONCE], height, width))
        for n in range(0, len(good), _RINGS_AT_ONCE)
    ]
    return Mask(
        _union(drawn, height, width),
        _box_around(good),
        odd_form,
        any(ring.has_text for ring in rings),
        "; ".join(problems[:3]),
    )


def _check_effort(rings: Sequence[Ring]) -> None:
    """Checks that polygons can be drawn in a time and a memory that are bounded.

    Raises:
        ValueError: there are too many, or their outlines are too long.
    """
    if len(rings) > _MOST_RINGS:
        raise ValueError(f"{len(rings)} polygons: too many")
    if sum(ring.longest_outline_px for ring in rings) <= _LONGEST_OUTLINE_PX:
        return
    outline = sum(ring.outline_px for ring in rings)
    if outline > _LONGEST_OUTLINE_PX:
        raise ValueError(f"polygons with outlines of {outline:.0f} pixels: too long")


def _box_around(rings: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    left = min(min(ring[0::2]) for ring in rings)
    top = min(min(ring[1::2]) for ring in rings)
    right = max(max(ring[0::2]) for ring in rings)
    bottom = max(max(ring[1::2]) for ring in rings)
    return float(left), float(top), float(right - left), float(bottom - top)


def _of_runs(codes: list[dict[str, Any]], height: int, width: int, odd_form: str) -> Mask:
    if len(codes) > _MOST_RINGS:
        raise ValueError(f"{len(codes)} run-length codes: too many")
    drawn = []
    for code in codes:
        lengths, problem = _run_lengths(code, height, width)
        odd_form = odd_form or problem
        uncompressed = {"size": [height, width], "counts": lengths}
        drawn.append(coco_mask.frPyObjects(uncompressed, height, width))
    rle = _union(drawn, height, width)
    return Mask(rle, tuple(coco_mask.toBbox(rle).tolist()), odd_form)


def _union(drawn: list[dict[str, Any]], height: int, width: int) -> dict[str, Any]:
    """Returns the union of masks; in a tree, since merging one by one is quadratic."""
    while len(drawn) > 1:
        drawn = [
            coco_mask.merge(drawn[n : n + _RINGS_AT_ONCE])
            for n in range(0, len(drawn), _RINGS_AT_ONCE)
        ]
    return {"size": [height, width], "counts": drawn[0]["counts"].decode("ascii")}


def _run_lengths(code: dict[str, Any], height: int, width: int) -> tuple[Any, str]:
    """Returns the lengths of the runs of a mask, checked, and what is odd about their form.

    Raises:
        ValueError: the size or the lengths do not fit the picture.
    """
    odd_form = _check_size(code, height, width)
    counts = code.get("counts")
    if isinstance(counts, list) and len(counts) == 1 and isinstance(counts[0], list | str):
        counts, odd_form = counts[0], "`counts` in a list"
    lengths: Any
    if isinstance(counts, str):
        text, bytes_form = _text_of_bytes(counts)
        odd_form = odd_form or bytes_form
        lengths = decode_counts(text)
        if lengths.size and not 0 <= lengths.min() <= lengths.max() <= height * width:
            raise ValueError("`counts` have a run of negative length, or beyond the picture")
        total = int(lengths.sum())
    else:
        lengths = _listed_lengths(counts)
        total = sum(lengths)
        if lengths is not counts:
            odd_form = "run lengths as floats or text"
    if total != height * width:
        raise ValueError(f"run lengths of {total} pixels, the picture has {height * width}")
    return lengths, odd_form


def _listed_lengths(counts: Any) -> list[int]:
    if not isinstance(counts, list):
        raise ValueError("`counts` are neither run lengths nor their compressed form")
    if all(type(length) is int and length >= 0 for length in counts):
        return counts
    lengths = [meant_integer(length) for length in counts]
    if any(length is None or length < 0 for length in lengths):
        raise ValueError("`counts` are neither run lengths nor their compressed form")
    return lengths  # type: ignore[return-value]


def _check_size(code: dict[str, Any], height: int, width: int) -> str:
    size = code.get("size")
    if type(code) is not dict:
        raise ValueError("a run-length code in which a key stands twice")
    if size is None:
        return "a run-length code without its size"
    if not isinstance(size, list) or [meant_integer(side) for side in size] != [height, width]:
        raise ValueError(f"a run-length code of size {shortened(size)}")
    return "" if all(integer(side) is not None for side in size) else "sizes as text"


def _text_of_bytes(counts: str) -> tuple[str, str]:
    """Returns counts without blanks around them, and of Python's bytes' text what they are."""
    if counts != counts.strip():
        return counts.strip(), "`counts` with blanks around them"
    if not counts.startswith("b") or not _BYTES_TEXT.fullmatch(counts):
        return counts, ""
    try:
        return ast.literal_eval(counts).decode("ascii").strip(), "the text of Python's bytes"
    except (ValueError, SyntaxError):
        raise ValueError("`counts` have a character that cannot be: a quote") from None


def decode_counts(compressed: str) -> "np.ndarray":
    """Returns the run lengths behind COCO's compressed `counts`: [runs] int64.

    Each is a number in groups of five bits, lowest first, a character (from "0") a group; from
    the fourth on it is the difference to the last but one.

    >>> decode_counts("01102").tolist()
    [0, 1, 1, 1, 3]

    Reference: rleFrString in maskApi.c of cocodataset/cocoapi, which reads on past the end.

    Raises:
        ValueError: a character is no group, or a number is too long or does not end.
    """
    try:
        groups = np.frombuffer(compressed.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise ValueError("`counts` have a character that cannot be: it is not ASCII") from None
    if not groups.size:
        return groups
    if groups.min() < 0 or groups.max() >= 64:
        place = int(np.argmax((groups < 0) | (groups >= 64)))
        raise ValueError(f"`counts` have a character that cannot be: {compressed[place]!r}")
    ends = np.flatnonzero(groups < 32)
    if not ends.size or ends[-1] != groups.size - 1:
        raise ValueError("`counts` end in the middle of a number")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MOST_GROUPS:
        raise ValueError("`counts` have a number that is too large")
    places = np.arange(groups.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((groups & 31) << (5 * places), starts)
    numbers -= ((groups[ends] & 16) > 0) * (np.int64(1) << (5 * lengths))
    # Number i > 2 is a difference to number i - 2: odd and even numbers are two running sums.
    # The very first stands alone.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
