"""An album as the page reads it: scripts that hand over compact JSON, some hundred pictures each.

They are scripts and not JSON files, since a page that is opened from a folder may load no others.
Lists stand for records: their places are named in `page/album.js`.
"""

import json
from typing import Any

from components.coco_evaluator.label_errors import SUSPICIONS
from model.coco.policies import REASONS
from pipeline.look.album import SIZES, Album, Reason, ShownPicture, Thing

PICTURES_A_PART = 500
_MEANINGS = {
    **{code: reason.meaning for code, reason in REASONS.items()},
    **SUSPICIONS,
}
_CODES = {code: n for n, code in enumerate(_MEANINGS)}
_DECIMALS = 1  # of pixels
_SCORE_DECIMALS = 3


def part_names(album: Album) -> list[str]:
    """Returns the names of the scripts."""
    parts = range(-(-len(album.pictures) // PICTURES_A_PART))
    kinds = ("pictures", "masks") if has_masks(album) else ("pictures",)
    return ["index.js", *(f"{kind}-{n}.js" for kind in kinds for n in parts)]


def has_masks(album: Album) -> bool:
    """Returns whether anything has a mask."""
    return any(thing.mask for picture in album.pictures for thing in picture.things)


def part(album: Album, name: str, version: str = "") -> bytes:
    """Returns one of the scripts.

    Args:
        album: what is shown.
        name: one of `part_names`.
        version: is part of the addresses of pictures, so that no old ones are taken from a cache.
    """
    kind, _, number = name.removesuffix(".js").partition("-")
    if kind == "index":
        return _script(kind, 0, _index(album, version))
    start = int(number) * PICTURES_A_PART
    pictures = album.pictures[start : start + PICTURES_A_PART]
    if kind == "masks":
        return _script(kind, int(number), [_masks(picture) for picture in pictures])
    return _script(kind, int(number), [_picture(picture, album) for picture in pictures])


def _script(kind: str, number: int, value: Any) -> bytes:
    # JSON within a string: read faster than code is, and a key such as __proto__ is only a key.
    text = json.dumps(json.dumps(value, separators=(",", ":"), allow_nan=False))
    return f"look.take({json.dumps(kind)}, {number}, JSON.parse({text}));\n".encode("ascii")


def _index(album: Album, version: str) -> dict[str, Any]:
    return {
        "title": album.title,
        "version": version,
        "classes": album.classes,
        "splits": album.splits,
        "sizes": SIZES,
        "reasons": list(_MEANINGS.items()),
        "pictures": len(album.pictures),
        "picturesAPart": PICTURES_A_PART,
        "hasMasks": has_masks(album),
        "hasDetections": album.has_detections,
        "score": album.score,
        "notes": album.notes,
    }


def _picture(picture: ShownPicture, album: Album) -> list[Any]:
    reasons = list(picture.reasons)
    if picture.file is not None:
        known = {reason.code for reason in reasons}
        reasons += [reason for reason in picture.file.flaws() if reason.code not in known]
    is_left_out = picture.is_left_out or any(r.code in album.leaves_out for r in reasons)
    return [
        picture.name,
        picture.width,
        picture.height,
        picture.split,
        int(is_left_out),
        int(picture.file is not None),
        _reasons(reasons),
        [_thing(thing) for thing in picture.things],
    ]


def _thing(thing: Thing) -> list[Any]:
    box = None if thing.bbox is None else [round(float(side), _DECIMALS) for side in thing.bbox]
    score = None if thing.score is None else round(thing.score, _SCORE_DECIMALS)
    return [
        int(thing.kind),
        thing.category,
        box,
        thing.size,
        thing.partner,
        score,
        thing.number,
        _reasons(thing.reasons),
        int(bool(thing.mask)),
    ]


def _reasons(reasons: "list[Reason] | tuple[Reason, ...]") -> list[Any]:
    return [[_CODES[r.code], r.detail] if r.detail else _CODES[r.code] for r in reasons]


def _masks(picture: ShownPicture) -> list[Any]:
    return [[n, thing.mask] for n, thing in enumerate(picture.things) if thing.mask]
