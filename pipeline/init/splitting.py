"""How the pictures of one file are split: by which names they belong together, which shares."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from configs.data_schema import SplitConfig
from model.coco.splits import GroupPattern, split_of_group, split_of_id
from pipeline.init.facts import DataFacts, Ints

_FEWEST_GROUPS = 5
_FEWEST_A_GROUP = 2.0  # pictures, on average
_LARGEST_SHARE = 0.5  # of the pictures, in one group
_MOST_LOST = 0.5  # share of the classes that groups may cost, in long tails and few videos
_FEWEST_MATCHES = 0.9  # share of the names in which a pattern finds something
_CONSECUTIVE = 0.5  # share of a video's frames that follow the one before within a few numbers
_NEAR = 30
_FAR = 0.5  # of the share of the evaluation
_SEEDS = 20
_MOST_FOR_SEEDS = 20_000  # pictures up to which several seeds are tried
_LARGE = 1000  # pictures from which a tenth is enough to measure on
# What a tool puts behind the name of the picture that it made several of.
_COPIES = r"(?:^|/)([^/]+)_(?:jpe?g|png)\.rf\."
_FOLDER = r"^(.+)/[^/]+$"
_FRAMES = r"^(.*[^0-9/])[0-9]+\.[A-Za-z]+$"


class Split(NamedTuple):
    """How one file is split.

    Attributes:
        config: `data.split`.
        places: for each picture 0 (train) or 1 (eval).
        why: for a person.
    """

    config: SplitConfig
    places: Ints
    why: str


class _Tried(NamedTuple):
    """A split that was tried; the smaller the cost the better.

    Attributes:
        cost: what `_cost` returns.
        config: `data.split`.
        places: see `Split`.
    """

    cost: tuple[bool, int, float]
    config: SplitConfig
    places: Ints


def choose_split(facts: DataFacts) -> Split:
    """Returns shares, groups and a seed under which both splits have what the file has."""
    pattern, why = group_pattern(facts.names)
    best = _best(facts, pattern)
    classes = len(np.unique(facts.class_of))
    if pattern is not None:
        alone = _best(facts, None)
        lost = min(best.cost[1] - alone.cost[1], classes)
        out = f"{lost} of {classes} classes out of one split"
        # Pictures may be named by their class; a picture's copies are never apart.
        if pattern != _COPIES and lost > _MOST_LOST * classes:
            best, why = alone, f"image id, as groups by {why} would leave {out}"
        elif lost > 0:
            why += f", which leaves {out}"
    shares = f"{best.config.train:g} to learn, {best.config.eval:g} to measure"
    return Split(best.config, best.places, f"one file: {shares}, by {why}")


def _best(facts: DataFacts, pattern: str | None) -> _Tried:
    """Returns the best split of some seeds."""
    share = 0.9 if len(facts.ids) >= _LARGE else 0.8
    groups = _groups(facts.names, pattern)
    seeds = range(_SEEDS if len(facts.ids) <= _MOST_FOR_SEEDS else 1)
    splits = (_split(facts, groups, share, pattern, seed) for seed in seeds)
    tried = [_Tried(_cost(facts, *split), *split) for split in splits]
    return min(tried, key=lambda each: each.cost)


def group_pattern(names: Sequence[str]) -> tuple[str | None, str]:
    r"""Returns the pattern of `data.split.group` that keeps together what belongs together.

    >>> group_pattern([f"cam{c}_{n:04d}.jpg" for c in range(6) for n in range(9)])[0]
    '^(.*[^0-9/])[0-9]+\\.[A-Za-z]+$'
    >>> group_pattern([f"IMG_{n:04d}.jpg" for n in range(50)])
    (None, 'image id')
    """
    for pattern, why in (
        (_COPIES, "the picture that copies were made of (Roboflow's names)"),
        (_FRAMES, "what stands before the number (frames of one video stay together)"),
        (_FOLDER, "folder (its pictures stay together)"),
    ):
        found = [re.search(pattern, name) for name in names]
        texts = [match[1] if match else "" for match in found]
        if pattern == _FRAMES and not _are_frames(names, texts):
            continue
        if pattern == _FOLDER and not _are_sequences(names):
            continue
        if _is_grouping(texts, is_copies=pattern == _COPIES):
            return pattern, why
    return None, "image id"


def _is_grouping(texts: Sequence[str], is_copies: bool) -> bool:
    counts = Counter(text for text in texts if text)
    total = sum(counts.values())
    if len(counts) < _FEWEST_GROUPS or total < _FEWEST_MATCHES * len(texts):
        return False
    if max(counts.values()) > _LARGEST_SHARE * len(texts):
        return False
    return (is_copies and len(counts) < total) or total / len(counts) >= _FEWEST_A_GROUP


def _are_frames(names: Sequence[str], groups: Sequence[str]) -> bool:
    """Returns whether the numbers behind each group's name mostly follow each other."""
    numbers: dict[str, list[int]] = {}
    for name, group in zip(names, groups, strict=True):
        if match := re.search(r"([0-9]{1,18})\.[A-Za-z]+$", name):
            numbers.setdefault(group, []).append(int(match[1]))
    return _mostly_consecutive(numbers)


def _are_sequences(names: Sequence[str]) -> bool:
    """Returns whether files are named by a number alone, or almost, within each folder."""
    numbers: dict[str, list[int]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        if match := re.search(r"([0-9]{1,18})\.[A-Za-z]+$", base):
            numbers.setdefault(folder, []).append(int(match[1]))
    return _mostly_consecutive(numbers)


def _mostly_consecutive(numbers: dict[str, list[int]]) -> bool:
    steps = [step for values in numbers.values() for step in np.diff(sorted(values)).tolist()]
    return bool(steps) and sum(0 < s <= _NEAR for s in steps) >= _CONSECUTIVE * len(steps)


def _groups(names: Sequence[str], pattern: str | None) -> list[str | None]:
    if pattern is None:
        return [None] * len(names)
    finder = GroupPattern(pattern)
    return [finder.group_of(name) for name in names]


def _split(
    facts: DataFacts, groups: Sequence[str | None], share: float, pattern: str | None, seed: int
) -> tuple[SplitConfig, Ints]:
    split = SplitConfig(train=share, eval=round(1 - share, 6), group=pattern, seed=seed)
    places = [
        split_of_id(id_, split) if group is None else split_of_group(group, split)
        for id_, group in zip(facts.ids.tolist(), groups, strict=True)
    ]
    return split, np.asarray(places)


def _cost(facts: DataFacts, split: SplitConfig, places: Ints) -> tuple[bool, int, float]:
    """Returns how far a split is from what one wants.

    That is, in this order: a share far off, classes without objects, how far the share is off.
    """
    place_of = places[facts.picture_of]
    classes = set(np.unique(facts.class_of).tolist())
    missing = sum(len(classes - set(facts.class_of[place_of == at].tolist())) for at in (0, 1))
    lacks_all = sum(not np.any(place_of == at) for at in (0, 1)) * len(classes)
    error = abs(float(np.mean(places)) - split.eval)
    return error > _FAR * split.eval, missing + lacks_all, error
