"""Evaluations of before, damaged ones and edited ones: shown as far as they go, or one line."""

import json
import math
import shutil

import pytest
from click.testing import CliRunner

from components.coco_evaluator.__main__ import main as evaluate
from components.coco_evaluator.label_errors import NOT_LABELLED
from ground.errors import RcnnError
from pipeline.look.album import Kind
from pipeline.look.places import Request, album_of
from tests.pipeline.look.data import detection, write_examples, write_json
from tests.pipeline.look.test_odd_data import scripts


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    examples = write_examples(folder / "O", 8)
    suspect = detection(1, 0.99, bbox=[20, 1, 5, 5])
    file = write_json(folder / "d.json", [*(detection(n, 0.9) for n in range(1, 9)), suspect])
    arguments = ["--detections", file, "--examples", examples, "--out", folder / "E"]
    result = CliRunner().invoke(evaluate, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return folder / "E"


@pytest.fixture
def evaluation(original, tmp_path):
    return shutil.copytree(original, tmp_path / "E")


def album(folder):
    shown = album_of(Request(folder)).album
    scripts(shown)
    return shown


def edit(folder, **changes):
    """Changes the decision; ... takes a key away."""
    decision = json.loads((folder / "decision.json").read_text()) | changes
    decision = {key: value for key, value in decision.items() if value is not ...}
    (folder / "decision.json").write_text(json.dumps(decision))


def line_of(folder):
    """Returns the line with which a folder cannot be shown."""
    with pytest.raises(RcnnError) as caught:
        album(folder)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 600 and str(folder) in line
    return line


def kinds(shown):
    return [thing.kind for picture in shown.pictures for thing in picture.things]


def test_an_evaluation_of_before_suspicions_is_shown_without(evaluation):
    with_suspicions = kinds(album(evaluation))
    (evaluation / "label_errors.json").unlink()

    assert with_suspicions.count(Kind.SUSPECT) == 1
    assert kinds(album(evaluation)) == [k for k in with_suspicions if k != Kind.SUSPECT]


@pytest.mark.parametrize("settings", [..., None, [], {}, {"max_detections": None}])
def test_a_decision_of_before_settings_counts_as_many_as_coco(evaluation, settings):
    edit(evaluation, settings=settings, narrowing=...)
    shown = album(evaluation)

    assert shown.has_detections and shown.notes == []
    assert kinds(shown).count(Kind.DETECTION) == 9


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "5", '{"data": 5}', '{"data": []}', "{}"]
)
def test_a_decision_that_is_none_is_said(evaluation, content):
    (evaluation / "decision.json").write_text(content)
    assert "decision.json" in line_of(evaluation)


@pytest.mark.parametrize(
    "data", [{}, {"split": "eval"}, {"name": "/gone, split eval"}, {"name": 5}]
)
def test_what_it_was_measured_on_is_asked_for(evaluation, data):
    edit(evaluation, data=data)
    assert "give --examples FOLDER" in line_of(evaluation)


@pytest.mark.parametrize(
    "narrowing",
    [5, "some", [1], {"image_ids": 5}, {"image_ids": "12"}, {"image_ids": [[1]]}, {"x": 1}],
)
def test_a_narrowing_in_another_form_is_said_or_noted(evaluation, narrowing):
    edit(evaluation, narrowing=narrowing)
    try:
        shown = album(evaluation)
    except RcnnError as error:
        assert "decision.json" in str(error) and "\n" not in str(error)
    else:
        assert "the evaluation was narrowed to a part of the data" in shown.notes
        assert len(shown.pictures) == 9


@pytest.mark.parametrize("most", [0, -1, "100", 1.5, True, 10**30])
def test_a_limit_in_another_form_is_said_or_counts(evaluation, most):
    edit(evaluation, settings={"max_detections": most})
    try:
        assert album(evaluation).has_detections
    except RcnnError as error:
        assert "decision.json" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    "found",
    [
        "", "{}", "null", "[1]", "[{}]", '[{"image_id": 1}]',
        [detection(99, 0.5)], [detection(1, 0.5, category_id=99)], [detection(1, "much")],
        [detection(1, math.nan)], [detection(1, 0.5, bbox=[1, 2, math.nan, 4])],
        [detection(1, 0.5, bbox=[1, 2])], [detection(1, 0.5, bbox=None)],
        [detection([1], 0.5)], [detection({}, 0.5)], [detection(1, 0.5, segmentation="x")],
    ],
    ids=lambda found: str(found)[-40:],
)  # fmt: skip
def test_detections_that_do_not_fit_are_one_line(evaluation, found):
    text = found if isinstance(found, str) else json.dumps(found)
    (evaluation / "detections.json").write_text(text)
    assert "detections.json" in line_of(evaluation)


def test_no_detections_at_all_miss_everything(evaluation):
    (evaluation / "detections.json").write_text("[]")
    (evaluation / "label_errors.json").unlink()
    shown = album(evaluation)

    assert kinds(shown).count(Kind.DETECTION) == 0 and shown.has_detections
    assert [
        thing.partner for p in shown.pictures[:-1] for thing in p.things if thing.kind == 0
    ] == [-1] * 8


def suspicion(**changes):
    category = {"id": 1, "name": f"{NOT_LABELLED} cat", "supercategory": NOT_LABELLED}
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 2, 3, 4],
        "area": 12,
        "score": 0.9,
    }
    return {"images": [], "categories": [category], "annotations": [annotation | changes]}


@pytest.mark.parametrize(
    "content",
    [
        "[1]", "null", "", {}, {"categories": []}, {"categories": [5], "annotations": []},
        {"categories": [{}], "annotations": [{}]}, suspicion(image_id=99), suspicion(image_id=[1]),
        suspicion(category_id=[1]), suspicion(bbox=None), suspicion(bbox=[1]),
        suspicion(bbox="1234"),
        suspicion(bbox=[1, 2, math.nan, 4]), suspicion(area="x"), suspicion(area=math.nan),
        suspicion(score=None), suspicion(score=math.inf),
    ],
    ids=lambda content: str(content)[-60:],
)  # fmt: skip
def test_suspicions_in_another_form_are_one_line(evaluation, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (evaluation / "label_errors.json").write_text(text)
    assert "label_errors.json" in line_of(evaluation)
