"""What of a COCO file is no flaw and yet worth a line: on the screen, in summaries and reports.

Whoever sees something while the file is read counts it in `Tally.seen`; here counts become lines.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from configs.schema import DataConfig
from ground.errors import DatasetError
from ground.wording import plural
from model.coco.hints import box_note, note_on_unknown_categories
from model.coco.survey import Survey
from model.coco.tally import SEEN_NAME_AGAIN, SEEN_TURN_UNCLEAR, SEEN_TURN_UNDONE, Tally
from model.examples import TRAINING_SPLIT, Category

_MOST_LISTED = 5
_NO_OTHERS: Mapping[str, Survey] = {}


def notes_on(
    found: Survey, data: DataConfig, split: str = "", others: Mapping[str, Survey] = _NO_OTHERS
) -> list[str]:
    """Returns what is odd about the categories, the crowds and the boxes of a file, with settings.

    Args:
        found: in the file.
        data: how it is read.
        split: that it is of.
        others: what was found in the files of other splits.
    """
    unknown = note_on_unknown_categories(found)
    notes = [*([unknown] if unknown else []), *_notes_on_objects(found, split, others)]
    names = Counter(category["name"] for category in found.categories)
    for name in [name for name, number in names.items() if number > 1][:_MOST_LISTED]:
        ids = [str(c["id"]) for c in found.categories if c["name"] == name]
        notes.append(f"{len(ids)} categories are named {name!r} (ids {', '.join(ids)})")
    if found.crowds and found.crowds == found.objects.total() and data.crowds == "ignore":
        notes.append(
            "every object is a crowd (iscrowd 1): unless they are, set data.crowds=objects"
        )
    note = box_note(found, data.box_format)
    return [*notes, note] if note else notes


def _notes_on_objects(found: Survey, split: str, others: Mapping[str, Survey]) -> list[str]:
    """Returns of which categories there are no objects, here or anywhere."""
    if not found.objects.total():
        return []
    notes = []
    told: set[int] = set()
    for name, other in others.items():
        elsewhere = [
            category
            for category in other.categories
            if other.objects[category["id"]] and not found.objects[category["id"]]
        ]
        new = [category for category in elsewhere if category["id"] not in told]
        told |= {category["id"] for category in new}
        if new:
            end = {split: ": measured, not learnt", name: ": learnt, not measured"}.get(
                TRAINING_SPLIT, ""
            )
            notes.append(f"no objects of {_named(new)}, which split {name!r} has{end}")
    empty = [c for c in found.categories if not found.objects[c["id"]] and c["id"] not in told]
    return [f"no objects of {_named(empty)}", *notes] if empty else notes


def _named(categories: Sequence[Category]) -> str:
    listed = ", ".join(f"{c['name']!r} (id {c['id']})" for c in categories[:_MOST_LISTED])
    more = len(categories) - _MOST_LISTED
    return f"{listed} and {more} more" if more > 0 else listed


def notes_on_use(tally: Tally, is_for_training: bool) -> list[str]:
    """Returns what is odd about the pictures and objects that are used."""
    notes = []
    if not tally.objects_to_learn:
        crowds = plural(tally.crowds_written, "crowd region")
        found = f"nothing but {crowds}" if tally.crowds_written else "no objects"
        use = "training cannot use it" if is_for_training else "it measures nothing"
        notes.append(f"{found}: {use}")
    if again := tally.seen[SEEN_NAME_AGAIN]:
        share = "shares its file" if again == 1 else "share their files"
        notes.append(
            f"{plural(again, 'picture')} {share} with an earlier one (such as "
            f"{tally.examples[SEEN_NAME_AGAIN]!r}): the objects of one picture may be spread over "
            "several entries of `images`"
        )
    note = _note_on_turns(tally)
    return [*notes, note] if note else notes


def _note_on_turns(tally: Tally) -> str:
    """Returns that boxes may be of the turned picture, where others show that the tool turns.

    Where some show that it does not, the file is of several tools, and nothing is known.
    """
    unclear, turned = tally.seen[SEEN_TURN_UNCLEAR], tally.reasons["exif_size_swapped"]
    if not unclear or not turned or tally.seen[SEEN_TURN_UNDONE]:
        return ""
    return (
        f"{plural(unclear, 'picture')} (such as {tally.examples[SEEN_TURN_UNCLEAR]}) used as "
        "stored, though EXIF asks for a turn that keeps the size: the size that is stated for "
        f"{plural(turned, 'other')} (exif_size_swapped) shows that their tool turns pictures, so "
        "these boxes are of the turned picture, too: set data.policies.exif_turned=mend"
    )


def with_notes(error: DatasetError, notes: Sequence[str]) -> DatasetError:
    """Returns an error with notes behind it."""
    return DatasetError(f"{error}. Note: {'; '.join(notes)}") if notes else error
