"""Classes that the config merges, renames or leaves out: in examples, accounts and evaluation."""

import json

import pytest

from components.coco_evaluator.sources import AnnotationsSource, ExamplesSource
from components.coco_example_gen import spool, whole
from components.coco_example_gen.source import SplitSource
from configs.schema import DataConfig
from ground.errors import ConfigError, DatasetError
from model.examples import read_categories
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

CATEGORIES = [{"id": i, "name": n} for i, n in ((2, "car"), (5, "truck"), (7, "dog"))]
CLASSES = {"merge": {"vehicle": ["car", "truck"]}, "drop": ["dog"]}


pytestmark = pytest.mark.usefixtures("without_beam")


@pytest.fixture
def folder(tmp_path):
    """Six pictures with an object of each class; one dog is a crowd, one has no box."""
    annotations = [annotation(n, n // 3, category_id=(2, 5, 7)[n % 3]) for n in range(18)]
    annotations[2].update(iscrowd=1)
    annotations[5].update(bbox=None, segmentation=None)
    annotations[3].update(iscrowd=1)
    images = [image(n) for n in range(6)]
    return write_dataset(tmp_path / "set", images, annotations, CATEGORIES)


def settings(classes=CLASSES):
    return DataConfig.model_validate({"classes": classes})


def convert(folder, out, classes=CLASSES):
    source = SplitSource("eval", folder / "instances.json", folder / "pictures", 2)
    data = settings(classes)
    whole.convert([source], out / "examples", out / "rejects", data, None, lambda line: None)
    return json.loads((out / "rejects" / "counts.json").read_text())["splits"]["eval"]


def test_objects_not_kept_are_counted_apart_and_are_no_loss(folder, tmp_path):
    found = convert(folder, tmp_path / "out")
    assert found["objects"] == {"read": 12, "written": 12, "rejected": 0}
    assert found["reasons"] == {}
    assert found["classes"] == {
        "merged": {"vehicle": {"car": 6, "truck": 6}},
        "not_kept": {"dog": 6},
    }
    assert found["notes"] == []
    assert read_categories(tmp_path / "out" / "examples") == [
        {"id": 2, "name": "vehicle", "label": 1}
    ]


@pytest.mark.parametrize("classes", [CLASSES, {"keep": ["dog", "car"]}, {"merge": {"a": ["dog"]}}])
def test_evaluator_reads_the_same_of_the_file(folder, tmp_path, classes):
    if "dog" in classes.get("keep", ()) or classes.get("merge", {}).get("a"):
        content = json.loads((folder / "instances.json").read_text())
        del content["annotations"][5]
        (folder / "instances.json").write_text(json.dumps(content))
    convert(folder, tmp_path / "out", classes)
    of_file = AnnotationsSource(folder / "instances.json", data=settings(classes))
    of_records = ExamplesSource(tmp_path / "out" / "examples", "eval")
    assert of_file.reading == of_records.reading
    one, other = of_file.ground_truth, of_records.ground_truth
    assert one.categories == other.categories
    assert sorted(map(_plain, one.annotations)) == sorted(map(_plain, other.annotations))


def _plain(annotation):
    kept = {key: value for key, value in annotation.items() if key != "id"}
    return json.dumps(kept, sort_keys=True)


def test_unknown_class_ends_before_anything_is_written(folder, tmp_path):
    with pytest.raises(ConfigError, match="no class is named 'cat': did you mean 'car'"):
        convert(folder, tmp_path / "out", {"keep": ["cat"]})
    assert not (tmp_path / "out").exists()


def test_lost_object_is_named_without_those_that_are_not_kept(folder, tmp_path, monkeypatch):
    write = spool.write_spool

    def write_and_cut(file, target, *rest):
        spooled = write(file, target, *rest)
        path = spool.spool_path(target, 0)
        path.write_bytes(path.read_bytes()[:-1])
        return spooled

    monkeypatch.setattr(spool, "write_spool", write_and_cut)
    with pytest.raises(
        DatasetError, match=r"from the spool file to the shard.*missing: annotation id \d+\)"
    ):
        convert(folder, tmp_path / "out")
