"""What a user names becomes an album: COCO folders and files, examples, evaluations."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from components.coco_evaluator.__main__ import main as evaluate
from components.coco_evaluator.label_errors import NOT_LABELLED
from ground.errors import ConfigError, DatasetError
from model.evaluation.ground_truth import ground_truth_from_json, ground_truth_from_records
from pipeline.look.album import NOBODY, UNJUDGED, Kind
from pipeline.look.places import Request, album_of
from tests.components.coco_example_gen.small_dataset import annotation, image, jpeg, write_dataset
from tests.pipeline.look.data import detection, write_examples, write_flawed, write_json


def album(what, **fields):
    return album_of(Request(what, **fields)).album


def codes(entry):
    return [reason.code for reason in entry.reasons]


def test_each_entry_of_a_flawed_file_is_shown_with_its_reason(tmp_path):
    found = album(write_flawed(tmp_path / "D"))
    one, two, gone, five, nameless = found.pictures
    assert [picture.name for picture in found.pictures] == [
        "1.jpg", "2.jpg", "gone.jpg", "5.jpg", "4.jpg",
    ]  # fmt: skip
    assert [thing.kind for thing in one.things] == [Kind.OBJECT, Kind.CROWD]
    assert one.things[0].mask and not one.things[1].mask
    assert codes(one.things[1]) == ["null_for_missing"]
    assert [reason.code for reason in two.file.flaws()] == ["picture_size_differs"]
    assert [reason.code for reason in gone.file.flaws()] == ["picture_missing"]
    assert [thing.kind for thing in five.things] == [Kind.LEFT_OUT] * 2
    assert [codes(thing) for thing in five.things] == [["bad_bbox"], ["unknown_category"]]
    assert five.things[1].category == -1
    assert nameless.is_left_out and codes(nameless) == ["bad_picture_record"]
    assert {"picture_missing", "picture_size_differs"} <= found.leaves_out
    assert found.notes == [f"1 annotation of no picture in {tmp_path / 'D' / 'instances.json'}"]


def test_a_picture_that_an_object_refuses_is_shown_as_left_out(tmp_path):
    write_dataset(tmp_path / "D", [image(1)], [annotation(1, 1), annotation(2, 1, bbox=None)])
    policy = ("data.policies.bad_bbox=refuse", "data.policies.box_missing=refuse")
    data = ("data.train_annotations=instances.json", "data.train_pictures=pictures")
    same = ("data.eval_annotations=instances.json", "data.eval_pictures=pictures")
    shown = album(tmp_path / "D", overrides=(*policy, *data, *same), split="train").pictures[0]
    assert shown.is_left_out and codes(shown) == ["box_missing"]
    assert {thing.kind for thing in shown.things} == {Kind.LEFT_OUT}


def test_one_file_is_shown_in_the_splits_that_a_config_makes_of_it(tmp_path):
    images = [image(n) for n in range(40)]
    write_dataset(tmp_path / "D", images, [annotation(n, n) for n in range(40)])
    config = tmp_path / "c.yaml"
    config.write_text(
        "name: x\ndata: {annotations: instances.json, pictures: pictures, "
        "split: {train: 0.7, eval: 0.3}, classes: {merge: {pet: [cat, dog]}}}\n"
    )
    found = album(tmp_path / "D", config=config)
    assert sorted(found.splits) == ["eval", "train"] and found.classes == ["pet"]
    data = Request(tmp_path / "D", config=config).data()[0]
    truth = ground_truth_from_json(tmp_path / "D" / "instances.json", data, split="eval")
    only = album(tmp_path / "D", config=config, split="eval")
    assert [p.name for p in only.pictures] == [i["file_name"] for i in truth.images]


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [
        ("labels.json", "images"),
        ("labels.json", "."),
        ("annotations/instances_all.json", "all"),
        ("annotations/labels.json", "images/all"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_the_pictures_of_a_file_are_found_beside_it(tmp_path, annotations, pictures):
    write_dataset(tmp_path / "D", [image(1)], [annotation(1, 1)])
    top = tmp_path / "E"
    (top / annotations).parent.mkdir(parents=True)
    (top / pictures).mkdir(parents=True, exist_ok=True)
    (tmp_path / "D" / "instances.json").rename(top / annotations)
    (tmp_path / "D" / "pictures" / "1.jpg").rename(top / pictures / "1.jpg")
    for what in (top, top / annotations):
        shown = album(what).pictures
        assert [picture.file.flaws() for picture in shown] == [[]]


@pytest.mark.parametrize(
    ("name", "of_mask"), [("1.jpg", "1.png"), ("1.JPG", "1.png"), ("1.jpg", "1.jpg")]
)
@pytest.mark.parametrize("top", [".", "annotations"])
def test_masks_are_not_shown_for_pictures(tmp_path, name, of_mask, top):
    write_dataset(tmp_path, [image(1)], [annotation(1, 1)], pictures={name: jpeg()})
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / of_mask).write_bytes(jpeg(seed=1))
    file = tmp_path / top / "labels.json"
    file.parent.mkdir(exist_ok=True)
    (tmp_path / "instances.json").rename(file)
    assert album(file).pictures[0].file.read() == jpeg()


def test_what_lies_outside_is_not_shown(tmp_path):
    images = [image(1, "../secret.jpg"), image(2, "link.jpg"), image(3, "/etc/hostname")]
    write_dataset(tmp_path / "D", images, [], pictures={})
    (tmp_path / "D" / "secret.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "D" / "pictures" / "link.jpg").symlink_to(tmp_path / "D" / "secret.jpg")
    shown = album(tmp_path / "D" / "instances.json", pictures=tmp_path / "D" / "pictures")
    flaws = [[reason.code for reason in p.file.flaws()] for p in shown.pictures]
    assert flaws == [["path_outside_folder"]] * 3


def test_examples_are_shown_as_they_are_measured_on_with_their_rejects(tmp_path):
    examples = write_examples(tmp_path / "O")
    request = Request(tmp_path / "O")
    read = album_of(request)
    one, two, three, rejected = read.album.pictures
    assert [codes(thing) for thing in one.things] == [[], ["bad_bbox"]]
    assert len(two.things) == len(three.things) == 1
    assert rejected.is_left_out and codes(rejected) == ["picture_missing"]
    assert rejected.file is None and rejected.things[0].kind == Kind.LEFT_OUT
    assert one.file.read().startswith(b"\xff\xd8\xff")
    from pipeline.look.places import read_examples

    (truth,) = read_examples(request, examples).truths
    expected = ground_truth_from_records(examples, "eval")
    assert truth.ground_truth.annotations == expected.annotations
    assert truth.ground_truth.images == expected.images


def test_detections_are_found_missed_or_wrong_as_the_evaluation_has_it(tmp_path):
    write_examples(tmp_path / "O")
    far = [20, 1, 5, 5]
    found = [detection(1, 0.9), detection(1, 0.8, bbox=far), detection(2, 0.4)]
    file = write_json(tmp_path / "d.json", found)
    shown = album(tmp_path / "O", detections=file)
    one, two, three, _ = shown.pictures
    assert one.things[0].partner == 2 and one.things[2].partner == 0
    assert one.things[1].partner == UNJUDGED  # left out
    assert one.things[3].partner == NOBODY
    assert (two.things[0].partner, two.things[1].partner) == (1, 0)
    assert three.things[0].partner == NOBODY
    assert shown.has_detections and shown.score == 0.4  # 2 of 3 right, 1 of 3 missed: F1 2/3


def test_an_evaluation_is_shown_on_what_it_was_measured_on(tmp_path, monkeypatch):
    examples = write_examples(tmp_path / "O")
    file = write_json(tmp_path / "d.json", [detection(1, 0.9), detection(2, 0.3)])
    out = tmp_path / "E"
    arguments = ["--detections", file, "--examples", examples, "--out", out]
    result = CliRunner().invoke(evaluate, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    shown = album(out)
    assert [len(picture.things) for picture in shown.pictures] == [3, 2, 1, 1]
    assert shown.notes == []  # so the ground truth is the one that was measured on
    examples.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="give --examples FOLDER"):
        album(out)
    assert album(out, examples=tmp_path / "moved").pictures[0].things[0].partner == 1
    (tmp_path / "r" / "artifacts" / "CocoEvaluator" / "evaluation").mkdir(parents=True)
    (tmp_path / "r" / "artifacts" / "CocoExampleGen" / "examples").mkdir(parents=True)
    out.rename(tmp_path / "r" / "artifacts" / "CocoEvaluator" / "evaluation" / "7")
    (tmp_path / "moved").rename(examples)
    assert album(tmp_path / "r").has_detections


def test_suspected_labels_come_with_the_evaluation(tmp_path):
    write_examples(tmp_path / "O", 8)
    far = {"bbox": [20, 1, 5, 5]}
    found = [detection(n, 0.9) for n in range(1, 9)] + [detection(1, 0.99, **far)]
    file = write_json(tmp_path / "d.json", found)
    arguments = ["--detections", file, "--examples", tmp_path / "O" / "examples"]
    result = CliRunner().invoke(evaluate, [*map(str, arguments), "--out", str(tmp_path / "E")])
    assert result.exit_code == 0, result.output
    things = [thing for picture in album(tmp_path / "E").pictures for thing in picture.things]
    (suspect,) = [thing for thing in things if thing.kind == Kind.SUSPECT]
    assert codes(suspect) == [NOT_LABELLED] and suspect.bbox == [20, 1, 5, 5]
    (tmp_path / "E" / "label_errors.json").write_text("[1]")
    with pytest.raises(DatasetError, match="not what CocoEvaluator writes"):
        album(tmp_path / "E")


def test_an_evaluation_of_some_pictures_shows_those(tmp_path):
    write_examples(tmp_path / "O")
    file = write_json(tmp_path / "d.json", [detection(2, 0.3)])
    (tmp_path / "ids.txt").write_text("2")
    arguments = ["--detections", file, "--examples", tmp_path / "O" / "examples"]
    arguments += ["--image-ids", tmp_path / "ids.txt", "--out", tmp_path / "E"]
    assert CliRunner().invoke(evaluate, list(map(str, arguments))).exit_code == 0
    shown = album(tmp_path / "E")
    assert [picture.name for picture in shown.pictures] == ["2.jpg"]
    assert shown.notes == ["the evaluation was narrowed to a part of the data"]


@pytest.mark.parametrize(
    ("make", "fields", "said"),
    [
        (lambda f: f / "none", {}, "no such file or folder"),
        (lambda f: f, {}, "neither COCO JSON nor examples"),
        (lambda f: write_json(f / "a.json", {"images": []}), {}, "are in no folder"),
        (lambda f: write_json(f / "a.json", []), {}, "are in no folder"),
        (
            lambda f: write_flawed(f / "D"),
            {"split": "test"},
            "no split named 'test', only instances",
        ),
        (lambda f: write_examples(f / "O"), {"split": "test"}, "no split named 'test', only eval"),
        (lambda f: write_flawed(f / "D"), {"pictures": "/none"}, "no such folder"),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path, make, fields, said):
    if "pictures" in fields:
        fields = {"pictures": tmp_path / "none"}
    with pytest.raises(DatasetError, match=said):
        album(make(tmp_path), **fields)


def test_detections_of_two_splits_are_refused(tmp_path):
    for name in ("a", "b"):
        write_dataset(tmp_path / "D" / name, [image(1)], [annotation(1, 1)])
        (tmp_path / "D" / name / "instances.json").rename(tmp_path / "D" / f"{name}.json")
    file = write_json(tmp_path / "d.json", [detection(1, 0.9)])
    request = Request(tmp_path / "D", detections=file)
    with pytest.raises(ConfigError, match=r"--split \(a, b\)"):
        album_of(request)
    assert album_of(dataclasses.replace(request, split="a")).album.has_detections


def test_a_config_of_the_folder_s_own_counts(tmp_path):
    write_dataset(tmp_path / "D", [image(1)], [annotation(1, 1)])
    text = "name: x\ndata: {annotations: no.json, pictures: p, split: {train: 0.5, eval: 0.5}}\n"
    (tmp_path / "D" / "tfx-rcnn.yaml").write_text(text)
    with pytest.raises(DatasetError, match=r"no\.json: no such annotation file"):
        album(tmp_path / "D")
    assert json.loads((tmp_path / "D" / "instances.json").read_text())["images"]
