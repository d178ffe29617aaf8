"""What else is to be known about an evaluation, besides its numbers. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.coco_evaluator.gate import (
    BY_A_PERSON,
    FAILED_PICTURES,
    FEWER_CLASSES_COMPARED,
    MORE_OBJECTS_THAN_COUNTED,
    MORE_OBJECTS_THAN_DETECTED,
    NARROWED,
    NO_MODEL,
    OWN_BASELINE,
    ROLLED_BACK,
    UNMEASURED_OLDER,
    UNSERVABLE,
    UNUSABLE_BASELINE,
    Finding,
)
from components.model_pusher.push_note import PushNote
from model.evaluation.ground_truth import GroundTruth

_NAMED_PICTURES = 3


@dataclass(frozen=True)
class Narrowing:
    """What part of the ground truth counts; None is all of it.

    Attributes:
        image_ids: only these pictures.
        category_ids: only these categories.
        class_agnostic: any category of a detection is right.
    """

    image_ids: frozenset[int] | None = None
    category_ids: frozenset[int] | None = None
    class_agnostic: bool = False

    def in_words(self) -> str:
        """Returns what part of the ground truth counts."""
        parts = []
        if self.image_ids is not None:
            parts.append(f"{len(self.image_ids)} pictures")
        if self.category_ids is not None:
            parts.append(f"categories {', '.join(map(str, sorted(self.category_ids)))}")
        if self.class_agnostic:
            parts.append("categories ignored")
        return "; ".join(parts) or "nothing"

    def to_dict(self) -> dict[str, Any] | None:
        """Returns it as `decision.json` holds it: sorted lists of ids; None where all counts."""
        if self == WHOLE:
            return None
        lists = {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name, value in asdict(self).items()
        }
        return lists


WHOLE = Narrowing()


def finding_lines(findings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns findings, as `decision.json` holds them, as lines for the screen."""
    return [
        f"{'finding' if finding['closes_gate'] else 'note'}: {finding['note']}"
        for finding in findings
    ]


def narrowing_findings(narrowing: Narrowing) -> list[Finding]:
    """Returns that only a part of the data counted, if so: a part proves nothing of the whole."""
    if narrowing == Narrowing():
        return []
    note = f"the evaluation was narrowed ({narrowing.in_words()}): only the whole data can bless"
    return [Finding(NARROWED, True, note)]


def no_model_finding(title: str) -> Finding:
    """Returns that the detections are those of a file."""
    note = f"the detections are of a file ({title}): nothing ties them to a model"
    return Finding(NO_MODEL, True, note)


def unservable_findings(problems: Iterable[str], is_measured: bool) -> list[Finding]:
    """Returns a finding for each thing that is wrong where the model is served.

    Args:
        problems: what it is, with the picture.
        is_measured: whether the model was run besides.
    """
    end = "" if is_measured else ": nothing was measured with it"
    return [Finding(UNSERVABLE, True, f"the model {problem}{end}") for problem in problems]


def failed_pictures_findings(failed: Sequence[str], of_whom: str) -> list[Finding]:
    """Returns that pictures could not be measured, if so.

    Args:
        failed: what is wrong with each, with its name.
        of_whom: "the model" or "the pushed model".
    """
    if not failed:
        return []
    more = f" (and {len(failed) - _NAMED_PICTURES} more)" if len(failed) > _NAMED_PICTURES else ""
    named = "; ".join(failed[:_NAMED_PICTURES])
    pictures = "picture" if len(failed) == 1 else "pictures"
    note = (
        f"{len(failed)} {pictures} could not be measured with {of_whom}, so their objects count as "
        f"missed: {named}{more}"
    )
    return [Finding(FAILED_PICTURES, True, note)]


def baseline_findings(problems: Iterable[str], is_ignored: bool) -> list[Finding]:
    """Returns a finding for each pushed model that is there and cannot be used."""
    end = (
        "it was ignored (evaluate.on_unusable_baseline)"
        if is_ignored
        else "mend or withdraw it, or set evaluate.on_unusable_baseline: ignore"
    )
    return [
        Finding(
            UNUSABLE_BASELINE,
            not is_ignored,
            f"the pushed model cannot be compared with: {problem}; {end}",
        )
        for problem in problems
    ]


def unmeasured_findings(problems: Iterable[str]) -> list[Finding]:
    """Returns a finding for each model before the baseline that could not be measured."""
    return [
        Finding(
            UNMEASURED_OLDER,
            False,
            f"a model pushed before the baseline could not be measured, so a drop is not counted "
            f"against it: {problem}",
        )
        for problem in problems
    ]


def rollback_findings(rollback: PushNote | None) -> list[Finding]:
    """Returns that a person went back from this very model, if so.

    What a person took out of service no run puts back.

    Args:
        rollback: note of the version that took it out of service.
    """
    if rollback is None or rollback.rollback is None:
        return []
    note = (
        f"this model was served, and version {rollback.version} took its place "
        f"({rollback.rollback.in_words()}); tfx-rcnn bless puts it back"
    )
    return [Finding(ROLLED_BACK, True, note)]


def word_findings(pushed: PushNote | None) -> list[Finding]:
    """Returns what a person has said about the pushed model, if they put it there.

    Args:
        pushed: what its version says of itself.
    """
    if pushed is None:
        return []
    return [
        Finding(
            BY_A_PERSON,
            False,
            f"the pushed model, version {pushed.version}, is {word.in_words()}",
        )
        for word in (pushed.rollback, pushed.override)
        if word is not None
    ]


def own_baseline_finding() -> Finding:
    """Returns that a model was to be compared with itself."""
    note = "the baseline is this very model: name the version that was pushed before it"
    return Finding(OWN_BASELINE, True, note)


def compared_classes_finding(shared: int, known: int) -> Finding:
    """Returns over how many of the data's classes the models were compared."""
    note = f"compared with the pushed model over the {shared} of {known} classes that both know"
    if not shared:
        note = "the pushed model shares no class with this one: there is nothing to compare"
    return Finding(FEWER_CLASSES_COMPARED, False, note)


def crowded_findings(
    ground_truth: GroundTruth,
    narrowing: Narrowing,
    max_detections: int,
    model_limit: int | None,
) -> list[Finding]:
    """Returns where more objects lie in a picture than detections can count, or can be made.

    Args:
        ground_truth: what is to be found; crowds are not.
        narrowing: what part of it counts.
        max_detections: number of a class's detections in a picture that COCO's numbers count.
        model_limit: detections in a picture that the model gives; None is unknown.
    """
    of_class: Counter[tuple[int, int | None]] = Counter()
    of_picture: Counter[int] = Counter()
    for annotation in ground_truth.annotations:
        image_id, category_id = annotation["image_id"], annotation["category_id"]
        if annotation["iscrowd"] or not _counts(narrowing, image_id, category_id):
            continue
        of_class[image_id, None if narrowing.class_agnostic else category_id] += 1
        of_picture[image_id] += 1
    findings = []
    crowded = {key: count for key, count in of_class.items() if count > max_detections}
    if crowded:
        (image_id, category_id), most = max(crowded.items(), key=lambda item: item[1])
        findings.append(
            Finding(
                MORE_OBJECTS_THAN_COUNTED,
                False,
                f"{_pictures({image for image, _ in crowded})} more objects of a class than the "
                f"{max_detections} detections that count (up to {most}"
                f"{_of_class(ground_truth, category_id)}, in {_picture(ground_truth, image_id)}): "
                "even perfect detections miss the rest, so AP and AR are capped; "
                f"evaluate.max_detections: {most} counts them all",
            )
        )
    full = {image for image, count in of_picture.items() if count > (model_limit or count)}
    if full:
        image_id = max(full, key=lambda image: of_picture[image])
        findings.append(
            Finding(
                MORE_OBJECTS_THAN_DETECTED,
                False,
                f"{_pictures(full)} more objects than the {model_limit} detections that the model "
                f"gives (up to {of_picture[image_id]}, in {_picture(ground_truth, image_id)}): "
                "raise model.detections.max_detections and train again",
            )
        )
    return findings


def _counts(narrowing: Narrowing, image_id: int, category_id: int) -> bool:
    return (narrowing.image_ids is None or image_id in narrowing.image_ids) and (
        narrowing.category_ids is None or category_id in narrowing.category_ids
    )


def _pictures(image_ids: set[int]) -> str:
    return "1 picture holds" if len(image_ids) == 1 else f"{len(image_ids)} pictures hold"


def _picture(ground_truth: GroundTruth, image_id: int) -> str:
    names = {image["id"]: image["file_name"] for image in ground_truth.images}
    return f"picture {image_id} ({names[image_id]})" if names.get(image_id) else f"id {image_id}"


def _of_class(ground_truth: GroundTruth, category_id: int | None) -> str:
    names = {category["id"]: category["name"] for category in ground_truth.categories}
    return f" of {names[category_id]!r}" if category_id in names else ""
