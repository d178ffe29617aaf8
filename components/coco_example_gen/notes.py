"""What is no flaw and yet worth a line a split: on the screen, in the summaries and the report.

Whoever sees something while a split is read counts it in `Tally.seen`; here counts become lines.
"""

from collections.abc import Mapping, Sequence

from components.coco_example_gen.rejects import Tally
from configs.wording import plural
from model.examples import Category

TRAINING_SPLIT = "train"
SEEN_NAME_AGAIN = "file_name_again"  # pictures whose file another picture has, too


def notes_of(tallies: Mapping[str, Tally], categories: Sequence[Category]) -> dict[str, list[str]]:
    """Returns the lines of each split.

    Args:
        tallies: of all splits by name, since some lines compare them.
        categories: the label map of all splits together.
    """
    return {name: _own_notes(name, tally) for name, tally in tallies.items()}


def _own_notes(name: str, tally: Tally) -> list[str]:
    notes = []
    if not tally.objects_to_learn:
        crowds = plural(tally.crowds_written, "crowd region")
        found = f"nothing but {crowds}" if tally.crowds_written else "no objects"
        use = "training cannot use it" if name == TRAINING_SPLIT else "it measures nothing"
        notes.append(f"{found}: {use}")
    if again := tally.seen[SEEN_NAME_AGAIN]:
        share = "shares its file" if again == 1 else "share their files"
        notes.append(
            f"{plural(again, 'picture')} {share} with an earlier one (such as "
            f"{tally.examples[SEEN_NAME_AGAIN]!r}): the objects of one picture may be spread over "
            "several entries of `images`"
        )
    return notes
