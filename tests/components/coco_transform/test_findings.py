"""What a report says of data with known faults, in numbers, and on a desktop and a phone."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from components.coco_transform import whole
from components.coco_transform.anchor_fit import count_shapes
from components.coco_transform.findings import (
    Alike,
    alike_content,
    anchors_content,
    notes_on_findings,
)
from components.coco_transform.likeness import look_alikes, pictures_of, same_files
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.source import previous_report, read_report
from components.coco_transform.statistics import SplitStatistics
from components.coco_transform.whole import transform_examples
from configs.model_schema import AnchorConfig
from configs.schema import Config
from ground.errors import DatasetError
from ground.files import write_json
from model.anchor_proposal import propose_anchors
from tests.browser import DESKTOP, PHONE
from tests.components.coco_transform.sources import (
    encoded_picture,
    source_record,
    write_source_folder,
)
from tests.components.serial_shards import write_shards

HEIGHT, WIDTH = 120, 160
SHARE = "transform.max_shared_pictures_fraction"


def settings(**transform):
    values = {"short_side_px": 96, "long_side_px": 160, "max_objects": 3}
    config = {"name": "faults", "input": values, "transform": {"mask_size": 16, **transform}}
    return CocoTransformSettings.of(Config.model_validate(config))


def scene(seed):
    spots = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(spots).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def record(image_id, seed, quality=90):
    """Five objects: one twice, one over all, one whose mask is elsewhere, one that is sound."""
    away, here = np.zeros((2, HEIGHT, WIDTH), bool)
    away[60:110, 100:150] = True
    here[20:60, 20:80] = True
    return source_record(
        encoded_picture(scene(seed), quality=quality),
        HEIGHT,
        WIDTH,
        [[20, 20, 60, 40], [20, 20, 60, 40], [0, 0, 160, 120], [10, 10, 30, 30], [90, 5, 20, 70]],
        [1, 1, 2, 2, 2],
        masks=[here, None, None, away, None],
        image_id=image_id,
    )


@pytest.fixture(autouse=True)
def without_beam(monkeypatch):
    monkeypatch.setattr(whole, "write_shards", write_shards)


@pytest.fixture
def source(tmp_path):
    splits = {
        "train": [[record(n, n) for n in range(3)], [record(n, n) for n in range(3, 6)]],
        "eval": [[record(10, 1, quality=40), record(11, 77)]],
    }
    folder = write_source_folder(tmp_path / "source", splits)
    shown = {"caption": "<b>1.jpg", "detail": "no such file", "words": '"id": 1', "uri": ""}
    refused = {"picture_missing": {"number": 25, "shown": [shown]}}
    write_json(folder / "refused.json", {"train": refused, "eval": {}})
    return folder


def transformed(source, out, **changes):
    return transform_examples(source, out / "examples", out, settings(**changes), None)


def test_faults_are_counted_and_named(source, tmp_path):
    report = transformed(source, tmp_path / "out")
    train = report["splits"]["train"]
    counts = {kind: found["objects"] for kind, found in train["suspicions"].items()}
    assert counts == {"box_and_mask_differ": 6, "box_fills_picture": 6, "drawn_twice": 6}
    twice = train["suspicions"]["drawn_twice"]["surest"][0]
    assert twice == {
        "image_id": 0, "annotation_id": 1, "other_annotation_id": 0, "degree": 1.0,
    }  # fmt: skip
    assert train["overflow"]["objects"] == 12
    assert train["overflow"]["fullest"][0] == {"image_id": 0, "objects": 5}
    # 52 x 52 and 62 x 42 pixels with the border of one become 16 x 16.
    assert train["masks"]["shrunk"] == train["masks"]["bitmaps"] == 12
    assert 0.8 < train["masks"]["worst_iou"] <= train["masks"]["mean_iou"] < 1
    assert [one["anchor_coverage"] is not None for one in train["classes"]] == [True, True, False]
    notes = "\n".join(report["notes"])
    assert "train: 6 objects: drawn twice" in notes
    assert "eval: 1 picture looks like one of train" in notes


def test_anchors_are_those_that_init_proposes(source, tmp_path):
    report = transformed(source, tmp_path / "out")
    # The boxes of `record`, six times, at 96 / 120 of their size.
    heights, widths = np.tile([[40, 40, 120, 30, 70], [60, 60, 160, 30, 20]], 6) * 0.8
    proposed = propose_anchors(heights, widths)
    assert proposed != AnchorConfig()
    found = report["anchors"]["proposed"]
    assert tuple(found["sizes_px"]) == proposed.sizes_px
    assert tuple(found["aspect_ratios"]) == proposed.aspect_ratios
    values = yaml.safe_load(report["anchors"]["fragment"])["model"]["anchors"]
    assert AnchorConfig.model_validate(values) == proposed


def test_better_anchors_are_a_note_where_objects_are_enough():
    boxes = np.random.default_rng(0).uniform(6, 12, (200, 2))

    def notes(number, anchors):
        counted = SplitStatistics(settings(), 1)
        counted.histograms["box_shape"] += count_shapes(boxes[:number])
        counted.boxes.add(*boxes[:number].T)
        content = anchors_content({"train": counted}, anchors)
        nothing = {"splits": {}, "is_complete": True}
        return notes_on_findings({"alike": nothing, "splits": {}, "anchors": content})

    [note] = notes(200, AnchorConfig())
    assert note.startswith("train: other anchors fit better: model.anchors.sizes_px=[8, ")
    assert "as tfx-rcnn init proposes" in note
    assert notes(200, propose_anchors(*boxes.T)) == []
    assert notes(99, AnchorConfig()) == []


def test_pictures_that_look_alike_are_named(source, tmp_path):
    alike = transformed(source, tmp_path / "out")["alike"]
    assert alike["splits"]["eval"]["look_alikes"] == {"train": 1, "eval": 0}
    assert alike["splits"]["eval"]["same_files"] == 0
    [pair] = alike["pairs"]
    assert pair["pictures"] == [["train", 1], ["eval", 10]]
    assert alike["is_complete"]


def test_same_file_in_two_splits_ends_the_run_unless_allowed(tmp_path):
    splits = {"train": [[record(n, n) for n in range(3)]], "eval": [[record(7, 2), record(8, 5)]]}
    source = write_source_folder(tmp_path / "source", splits)
    said = r"split 'eval': 1 of 2 pictures is also in 'train', byte for byte \(image id 7 is image"
    with pytest.raises(DatasetError, match=said):
        transformed(source, tmp_path / "out")
    assert not (tmp_path / "out" / "report.json").exists()
    report = transformed(source, tmp_path / "out", max_shared_pictures_fraction=0.5)
    assert report["alike"]["splits"]["eval"]["same_files_listed"] == [[7, 2]]
    assert "eval: 1 picture also in train, byte for byte" in report["notes"]
    # The same is told once, not as a look-alike again.
    assert not any("looks like" in note for note in report["notes"])
    allowed = settings().model_copy(
        update={"data": settings().data.model_copy(update={"allow_same_splits": True})}
    )
    transform_examples(source, tmp_path / "a" / "examples", tmp_path / "a", allowed, None)


def notes_on_likeness(looks, contents):
    """Notes on pictures of train and eval, by their look and their file's sum."""
    hashes = {
        name: np.asarray([[content, 0, *look] for look, content in zip(looks[name], contents[name],
                          strict=True)], np.uint64)
        for name in looks
    }  # fmt: skip
    pictures = pictures_of({name: np.arange(len(of)) for name, of in looks.items()}, hashes)
    shared = {"eval": same_files(pictures, 1, 0)}
    content = alike_content(Alike(pictures, list(looks), shared, look_alikes(pictures)))
    return notes_on_findings({"alike": content, "splits": {}, "anchors": None}), content["splits"]


def test_same_files_without_a_look_hide_no_look_alike():
    plain, one, other = (0, 0), (2**63 - 1, 5), (9, 2**62 - 1)
    # Of eval: two plain files of train's, one that looks alike alone, and one that is both.
    looks = {"train": [plain, plain, one, other], "eval": [plain, plain, one, other]}
    notes, splits = notes_on_likeness(looks, {"train": [1, 2, 3, 4], "eval": [1, 2, 30, 4]})
    assert notes == [
        "eval: 3 pictures also in train, byte for byte",
        "eval: 1 picture looks like one of train: a model may be measured on what it learnt",
    ]
    assert splits["eval"]["look_alikes"]["train"] == 2
    assert splits["eval"]["look_alikes_beside_same"] == 1
    assert splits["train"]["look_alikes_beside_same"] == 0
    notes, splits = notes_on_likeness(
        {"train": [plain], "eval": [plain]}, {"train": [1], "eval": [1]}
    )
    assert notes == ["eval: 1 picture also in train, byte for byte"]
    assert splits["eval"]["look_alikes_beside_same"] == 0


def test_run_before_lies_beside_this_one(tmp_path):
    for name in ("3", "12", "20", "notes"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "report.json", {"splits": {}, "of": name})
    (tmp_path / "11").mkdir()  # failed: it has no report
    assert previous_report(tmp_path / "12")["of"] == "3"
    assert previous_report(tmp_path / "3") is None
    assert previous_report(tmp_path / "notes") is None
    assert previous_report("gs://bucket/7") is None
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"no data report"):
        read_report(tmp_path / "x.json")


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_fits_the_screen_by_day_and_night(source, tmp_path, open_page, screen):
    out = tmp_path / "out"
    transform_examples(
        source, out / "examples", out, settings(), None,
        anomalies=["train: image/width: a very long line " + "x" * 300],
    )  # fmt: skip
    page = open_page(out / "report.html", screen)
    assert page.errors == []
    assert page.too_wide() == []
    assert "class=&#34;" not in (out / "report.html").read_text()
    # Escaped by the template, as the file has it.
    assert "<b>1.jpg" in page.text("#refused + p + details figcaption")
    assert "25 (1 shown)" in page.text("#refused + p + details summary")
    assert page.count(".pair img") == 2
    assert page.count("#suspects ~ details img") == 3 * 6 + 3 * 2
    assert page.is_seen("#fragment")
    assert page.count(".plots figure.wide") == 1
    dark = open_page(out / "report.html", screen, is_dark=True)
    colours = dark.run(
        """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(
             document.querySelector(".plots svg text")).fill].map(
               (c) => c.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3)"""
    )
    assert colours[0] < 60
    assert colours[1] > 180


def test_report_is_json_without_what_json_has_not(source, tmp_path):
    transformed(source, tmp_path / "out")
    text = (tmp_path / "out" / "report.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
