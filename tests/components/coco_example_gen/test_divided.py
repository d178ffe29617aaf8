"""One COCO JSON that becomes two splits, as examples, and as the evaluator reads it alone."""

import json

import pytest
from click.testing import CliRunner

from components.coco_evaluator.sources import AnnotationsSource, ExamplesSource
from components.coco_example_gen import accounts, spool, whole
from components.coco_example_gen.__main__ import main
from components.coco_example_gen.together import sources_of
from configs.data_schema import SPLIT_NAMES
from configs.schema import DataConfig
from ground.errors import DatasetError
from model.coco.splits import Division
from model.input.index import index_path, read_index
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

GROUPS = 6
PICTURES = 24
SPLIT = {"train": 0.5, "eval": 0.5, "group": r"cam(\d+)", "seed": 1}
LOOSE = {"max_rejected_fraction": 1.0, "max_lost_objects_fraction": 1.0}


pytestmark = pytest.mark.usefixtures("without_beam")


@pytest.fixture
def folder(tmp_path):
    """Frames of six cameras, two objects each; entries of no picture, and a missing file."""
    images = [image(n, f"cam{n % GROUPS}_{n}.jpg") for n in range(PICTURES)]
    annotations = [annotation(n, n // 2, category_id=(3, 8)[n % 2]) for n in range(2 * PICTURES)]
    annotations += [annotation(100, 555), annotation(101, "no id"), 5]
    folder = write_dataset(tmp_path / "set", images, annotations)
    (folder / "pictures" / "cam3_9.jpg").unlink()
    return folder


def settings(**changes):
    names = {"annotations": "instances.json", "pictures": "pictures"}
    return DataConfig.model_validate({**names, "split": SPLIT, **LOOSE, **changes})


def convert(folder, out, **changes):
    data = settings(train_shards=2, eval_shards=1, **changes)
    sources = sources_of(data, folder)
    return whole.convert(sources, out / "examples", out / "rejects", data, None, lambda line: None)[
        "splits"
    ]


def ids_in(out, split, shards):
    found = [index_path(out / "examples", split, shard, shards) for shard in range(shards)]
    return {int(id_) for path in found for id_ in read_index(path).image_id}


def test_each_picture_is_in_one_split_and_its_group_with_it(folder, tmp_path):
    splits = convert(folder, tmp_path / "out")
    train, ev = ids_in(tmp_path / "out", "train", 2), ids_in(tmp_path / "out", "eval", 1)
    assert train | ev == set(range(PICTURES)) - {9}
    assert not {n % GROUPS for n in train} & {n % GROUPS for n in ev}
    read = [splits[name]["objects"]["read"] for name in SPLIT_NAMES]
    assert sum(read) == 2 * PICTURES + 3
    assert sum(splits[name]["pictures"]["read"] for name in SPLIT_NAMES) == PICTURES
    part = splits["eval"]["part"]
    assert part["pictures"] == splits["eval"]["pictures"]["read"]
    assert (part["of"], part["of_groups"], part["asked"]) == (PICTURES, GROUPS, 0.5)


@pytest.mark.parametrize("split", [SPLIT, {"train": 0.5, "eval": 0.5}])
@pytest.mark.parametrize("name", SPLIT_NAMES)
def test_evaluator_reads_the_same_part_of_the_file(folder, tmp_path, split, name):
    (folder / "pictures" / "cam3_9.jpg").write_bytes((folder / "pictures/cam0_0.jpg").read_bytes())
    convert(folder, tmp_path / "out", split=split)
    of_file = AnnotationsSource(folder / "instances.json", data=settings(split=split), split=name)
    of_records = ExamplesSource(tmp_path / "out" / "examples", name)
    for one, other in ((of_file, of_records), (of_records, of_file)):
        assert _truth(one) == _truth(other)
    assert of_file.reading["part"] == of_records.reading["part"]
    assert of_file.reading["objects"] == of_records.reading["objects"]
    (other,) = set(SPLIT_NAMES) - {name}
    known = of_file.ground_truth.ids_of_other_splits()
    assert known == of_records.ground_truth.ids_of_other_splits()
    assert list(known) == [other]


def _truth(source):
    truth = source.ground_truth
    plain = [{k: v for k, v in each.items() if k != "id"} for each in truth.annotations]
    by_picture = {each["id"]: each for each in truth.images}
    objects = sorted(plain, key=lambda a: (a["image_id"], a["category_id"], str(a["bbox"])))
    return by_picture, objects, truth.categories


def test_evaluator_refuses_a_split_that_there_is_not(folder):
    with pytest.raises(DatasetError, match=r"no split named 'val', only train, eval, all"):
        AnnotationsSource(folder / "instances.json", data=settings(), split="val")


def test_evaluator_reads_all_of_a_file_where_asked(folder):
    found = AnnotationsSource(folder / "instances.json", data=settings(), split="all")
    assert len(found.ground_truth.images) == PICTURES
    assert found.name == str(folder / "instances.json")
    assert "part" not in found.reading


def test_class_that_only_one_split_has_is_noted(tmp_path):
    images = [image(n) for n in range(12)]
    split = {"train": 0.5, "eval": 0.5}
    annotations = [annotation(n, n, category_id=3) for n in range(12)]
    folder = write_dataset(
        tmp_path / "set", images, [*annotations, annotation(12, 3, category_id=8)]
    )
    splits = convert(folder, tmp_path / "out", split=split)
    assert (
        "no objects of 'dog' (id 8), which split 'eval' has: measured, not learnt"
        in (splits["train"]["notes"])
    )


def test_entry_that_both_splits_leave_to_the_other_is_noticed(folder, tmp_path, monkeypatch):
    split_of = Division.split_of
    monkeypatch.setattr(
        Division, "split_of", lambda self, id_: "nobody" if id_ == 4 else split_of(self, id_)
    )
    with pytest.raises(DatasetError, match="from one file to its splits 'train' and 'eval'"):
        convert(folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_accounts_of_a_sound_division_agree():
    one, other = spool.Accounts(), spool.Accounts()
    one.pictures.add(3)
    other.objects.add(4)
    accounts.check_division({"train": (one, other), "eval": (other, one)})
    with pytest.raises(DatasetError, match="1 picture with 0 objects taken"):
        accounts.check_division({"train": (one, other), "eval": (other, other)})


def test_command_takes_the_splits_of_the_config(folder, tmp_path):
    sets = [
        "data.annotations=instances.json",
        "data.pictures=pictures",
        "data.split={train: 0.5, eval: 0.5}",
        "data.max_rejected_fraction=1",
        "data.max_lost_objects_fraction=1",
    ]
    arguments = ["--data-dir", str(folder), "--out", str(tmp_path / "out")]
    arguments += [text for each in sets for text in ("--set", each)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert " of 24 pictures (data.split asks for 0.5)" in result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary["splits"]) == set(SPLIT_NAMES)

    result = CliRunner().invoke(main, [*arguments, "--split", "train=instances.json:pictures"])
    assert result.exit_code == 2
    assert "--split names whole files: leave it out, or set data.split=null" in result.output
