import errno
import json
import re
import shutil

import numpy as np
import pytest
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from click.testing import CliRunner

from components.beam_options import beam_arguments
from components.coco_transform.__main__ import main
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.whole import NAMESPACE, transform_examples
from configs.schema import Config
from ground.errors import DatasetError
from model import records
from model.batch import arrays_of, row_of
from model.examples import read_categories, read_manifest, shard_paths
from model.input.buckets import read_buckets
from model.input.index import index_path, read_index
from model.input.input_pipeline import TrainingInput
from model.tf_example import decode_example
from model.tfrecord import read_tfrecord
from tests.components.coco_transform.sources import (
    CATEGORIES,
    encoded_picture,
    source_record,
    write_source_folder,
)
from tests.model.encoded.odd_jpegs import SEGMENTS, odd_jpeg

WHOLE = Config.model_validate(
    {
        "name": "tiny",
        "data": {"max_rejected_fraction": 0.2, "max_lost_objects_fraction": 0.25},
        "input": {"short_side_px": 64, "long_side_px": 128, "max_objects": 4},
        "model": {"anchors": {"sizes_px": [8, 16, 32, 64, 128]}},
    }
)
CONFIG = CocoTransformSettings.of(WHOLE)
IN_MEMORY = ["--direct_running_mode=in_memory"]
PROCESSES = [*IN_MEMORY, "--shard_processes=2"]
THREADS = ["--direct_running_mode=multi_threading", "--direct_num_workers=2"]


def pipelines(arguments=tuple(IN_MEMORY)):
    return lambda: Pipeline(options=PipelineOptions(beam_arguments(arguments)))


def picture(height, width, seed):
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin((rows + (k + 1) * columns) / 15 + seed) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def record(image_id, height=60, width=90):
    mask = np.zeros((height, width), bool)
    mask[10:30, 20:50] = True
    return source_record(
        encoded_picture(picture(height, width, image_id)),
        height,
        width,
        [[20, 10, 30, 20], [5, 5, 200, 10], [0, 0, 10, 10], [300, 0, 5, 5]],
        [1, 2, 2, 3],
        [0, 0, 1, 0],
        [mask, None, mask, None],
        image_id,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    broken = source_record(b"\xff\xd8\xff nothing", 60, 90, image_id=99)
    empty = source_record(encoded_picture(picture(90, 60, 3)), 90, 60, image_id=77)
    splits = {
        "train": [[record(1), broken, record(2, 90, 60)], [], [record(3, 200, 300), empty]],
        "holdout-b": [[record(4)]],
    }
    return write_source_folder(tmp_path_factory.mktemp("source") / "examples", splits)


@pytest.fixture(scope="module")
def result(source, tmp_path_factory):
    """Returns (folder, report) of one run."""
    folder = tmp_path_factory.mktemp("result")
    report = transform_examples(source, folder / "examples", folder, CONFIG, pipelines())
    return folder, report


def all_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_folder_holds_the_contract_and_nothing_else(result):
    folder, _ = result
    assert sorted(all_files(folder)) == [
        "examples/Split-holdout-b/data_tfrecord-00000-of-00001",
        *(f"examples/Split-train/data_tfrecord-0000{i}-of-00003" for i in range(3)),
        "examples/buckets.json",
        "examples/categories.json",
        "examples/index/holdout-b-00000-of-00001.npz",
        *(f"examples/index/train-0000{i}-of-00003.npz" for i in range(3)),
        "examples/manifest.json",
        "report.html",
        "report.json",
    ]
    assert read_categories(folder / "examples") == CATEGORIES
    splits = read_manifest(folder / "examples")["splits"]
    assert {name: (s["records"], s["objects"]) for name, s in splits.items()} == {
        "train": (4, 9),  # three objects of each record lie in the picture, crowds included
        "holdout-b": (1, 3),
    }
    assert [shard["records"] for shard in splits["train"]["shards"]] == [2, 0, 2]


def test_index_leads_to_the_records(result):
    examples = result[0] / "examples"
    for split, shards in (("train", 3), ("holdout-b", 1)):
        for number, path in enumerate(shard_paths(examples, split)):
            index = read_index(index_path(examples, split, number, shards))
            found = list(read_tfrecord(path))
            assert [offset for offset, _ in found] == index.offset.tolist()
            assert [len(payload) for _, payload in found] == index.length.tolist()
            for row, (_, payload) in enumerate(found):
                example = decode_example(payload)
                assert int(example[records.SOURCE_ID][0]) == index.image_id[row]
                assert example[records.HEIGHT] == [index.height[row]]
                assert example[records.WIDTH] == [index.width[row]]
                assert len(example[records.CLASS_LABEL]) == index.num_objects[row]


def test_report_counts_what_happened(result):
    folder, report = result
    assert report == json.loads((folder / "report.json").read_text())
    train = report["splits"]["train"]
    assert train["pictures"] == {
        "kept": 3,
        "picture_unreadable": 1,
        "read": 5,
        "scaled_down": 1,
        "without_objects": 1,
        "written": 4,
    }
    assert train["objects"]["object_kept"] == 6
    assert train["objects"]["object_dropped_outside"] == 3
    assert train["objects"]["crowd_kept"] == 3
    assert train["objects"]["mask_kept"] == 3
    assert [c["objects"] for c in train["classes"]] == [3, 3, 0]
    assert sum(train["pictures_in_bucket"]) == 4
    assert 0 <= train["padding_share"] < 0.5
    assert 0 < train["anchor_coverage"]["all"]["0.5"] <= 1
    assert train["anchor_coverage"]["large"]["0.5"] in (None, 0.0, 1.0)


def test_notes_say_what_to_look_at(result):
    _, report = result
    # The medium objects are bars of 200 x 10 pixels, half of the small ones of 85 x 10.
    assert [note.partition(" (")[0] for note in report["notes"]] == [
        "train: 1 picture cannot be used",
        "train: 3 objects cannot be learnt",
        "train: 1 class has no object",
        "train: only 0 % of the medium objects have an anchor with IoU 0.5 or more",
        "holdout-b: 1 object cannot be learnt",
        "holdout-b: 1 class has no object",
        "holdout-b: only 50 % of the small objects have an anchor with IoU 0.5 or more",
    ]
    assert "(thing 3)" in report["notes"][2]
    assert report["notes"][0] in (result[0] / "report.html").read_text()


def test_poor_anchors_and_much_padding_are_noted(source, tmp_path):
    changes = {"anchors": {"sizes_px": [300, 310, 320, 330, 340]}}
    config = CONFIG.model_dump(mode="json") | {"model": changes, "transform": {"max_buckets": 1}}
    report = transform_examples(
        source, tmp_path / "o", tmp_path, Config.model_validate(config), pipelines()
    )
    assert "train: only 0 % of the small objects have an anchor with IoU 0.5 or more" in str(
        report["notes"]
    )
    # 64 x 96 and 96 x 64 in 96 x 96: a third
    assert "train: 33 % of the input is padding (transform.max_buckets)" in report["notes"]


def test_buckets_are_of_the_train_split(result):
    # 60 x 90 and 200 x 300 are 64 x 96 resized, 90 x 60 is 96 x 64.
    assert read_buckets(result[0] / "examples") == [(96, 64), (64, 96)]


def test_page_needs_no_other_file(result):
    page = (result[0] / "report.html").read_text()
    assert "picture unreadable 1" in page
    assert page.count("data:image/jpeg;base64,") == 5
    addresses = set(re.findall(r'(?:href|src)="(?!data:|#)([^"]+)"', page))
    assert addresses == set()


@pytest.mark.parametrize("arguments", [IN_MEMORY, PROCESSES, THREADS])
def test_bytes_do_not_depend_on_the_runner(source, result, tmp_path, arguments):
    transform_examples(source, tmp_path / "examples", tmp_path, CONFIG, pipelines(arguments))
    assert all_files(tmp_path) == all_files(result[0])


def test_old_folder_is_replaced_whole_or_not_at_all(source, result, tmp_path):
    examples = tmp_path / "examples"
    shutil.copytree(result[0] / "examples", examples)
    (examples / "Split-train" / "data_tfrecord-00007-of-00009").write_bytes(b"old")
    before = all_files(tmp_path)
    with pytest.raises(DatasetError):
        transform_examples(tmp_path / "nothing", examples, tmp_path, CONFIG, pipelines())
    assert all_files(tmp_path) == before
    transform_examples(source, examples, tmp_path, CONFIG, pipelines())
    assert all_files(tmp_path) == all_files(result[0])


def test_beam_counts_by_reason(source, tmp_path):
    runs = []

    class Recorded(Pipeline):
        def run(self, *arguments, **options):
            runs.append(super().run(*arguments, **options))
            return runs[-1]

    options = PipelineOptions(beam_arguments(IN_MEMORY))
    transform_examples(
        source, tmp_path / "examples", tmp_path, CONFIG, lambda: Recorded(options=options)
    )
    counters = {
        counter.key.metric.name: counter.committed
        for counter in runs[0].metrics().query()["counters"]
        if counter.key.metric.namespace == NAMESPACE
    }
    assert counters["pictures_written"] == 5
    assert counters["pictures_picture_unreadable"] == 1
    assert counters["objects_object_dropped_outside"] == 4


def test_metadata_of_a_picture_ends_nothing(tmp_path):
    boxes = [[20, 10, 30, 20], [20, 10, 30, 20]]  # one drawn twice: a suspect
    splits = {
        split: [[source_record(odd_jpeg(segment), 60, 90, boxes, image_id=n) for n in ids]]
        for split, segment, ids in zip(
            ("train", "eval"), SEGMENTS.values(), ((1, 2), (3, 4)), strict=True
        )
    }  # they look alike
    folder = write_source_folder(tmp_path / "source", splits)
    settings = CocoTransformSettings.of(
        WHOLE.model_copy(update={"data": WHOLE.data.model_copy(update={"allow_same_splits": True})})
    )
    transform_examples(folder, tmp_path / "out", tmp_path / "report", settings, pipelines())
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Objects that look wrong" in page and 'class="pair"' in page
    assert page.count('src="data:image/jpeg') >= 4 + 4 + 2
    assert "no picture to show" not in page


def test_damaged_shard_is_named(source, tmp_path):
    shutil.copytree(source, tmp_path / "source")
    (shard, *_) = shard_paths(tmp_path / "source", "train")
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(DatasetError, match=r"data_tfrecord-00000-of-00003: cut off in the record"):
        transform_examples(tmp_path / "source", tmp_path / "o", tmp_path, CONFIG, pipelines())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_full_disk_stays_a_full_disk(source, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "/some/file")

    monkeypatch.setattr("components.shard_file.write_tfrecord", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        transform_examples(source, tmp_path / "o", tmp_path, CONFIG, pipelines())
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "/some/file"


def test_the_end_of_the_work_is_told(source, tmp_path):
    lines = []
    transform_examples(source, tmp_path / "o", tmp_path, CONFIG, pipelines(), lines.append)
    assert lines[-1].startswith("transforming: 6/6 pictures")


def test_rest_of_a_killed_run_is_removed(source, tmp_path):
    (tmp_path / ".examples.12345678.partial" / "parts").mkdir(parents=True)
    transform_examples(source, tmp_path / "examples", tmp_path, CONFIG, pipelines())
    assert not list(tmp_path.glob(".*"))


def test_records_that_are_missing_are_noticed(source, tmp_path):
    shutil.copytree(source, tmp_path / "source")
    (shard, *_) = shard_paths(tmp_path / "source", "train")
    shard.write_bytes(b"")
    words = (
        r"shard 1 of 3: from .* 3 records listed, the file holds 0 \(missing: image ids 1, 99, 2\)"
    )
    with pytest.raises(DatasetError, match=words):
        transform_examples(tmp_path / "source", tmp_path / "o", tmp_path, CONFIG, pipelines())


def test_split_without_a_usable_picture_is_refused(tmp_path):
    broken = source_record(b"\xff\xd8\xff nothing", 60, 90)
    source = write_source_folder(tmp_path / "source", {"train": [[broken]]})
    with pytest.raises(
        DatasetError, match=r"none of its 1 picture can be used \(picture_unreadable 1\)"
    ):
        transform_examples(source, tmp_path / "o", tmp_path, CONFIG, pipelines())


def test_training_reads_what_was_written(result):
    training_input = TrainingInput(
        result[0] / "examples", "train", WHOLE.input, True, workers=1, pictures_per_step=2, seed=0
    )
    steps = training_input.steps_per_epoch
    seen = {}
    for batch in training_input.dataset(0).take(steps):
        for row in np.flatnonzero(batch.valid):
            seen[int(batch.image_ids[row])] = row_of(arrays_of(batch), row)
    assert sorted(seen) == [1, 2, 3, 77]
    # 60 x 90 becomes 64 x 96: a factor of 16 / 15
    in_source_px = seen[1].gt_boxes[0] * 15 / 16
    np.testing.assert_allclose(in_source_px, in_source_px.round(), atol=1e-3)
    assert seen[1].gt_classes.tolist() == [1, 2, 2, 0]
    assert seen[1].gt_is_crowd.tolist() == [False, False, True, False]
    assert seen[1].gt_masks.valid.tolist() == [True, False, False, False]
    assert seen[1].gt_masks.bitmaps[0].sum() == 20 * 30
    assert not seen[77].gt_valid.any()


def test_command_writes_summary_and_says_what_it_did(source, result, tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps(CONFIG.model_dump(mode="json", exclude_none=True)))
    out = tmp_path / "out"
    arguments = ["--examples", str(source), "--config", str(config), "--out", str(out)]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 0, run.output
    assert "train: 4 pictures (3 as they were), 6 objects, 3 crowd regions, 3 masks" in run.output
    assert json.loads((out / "summary.json").read_text()) == result[1]
    assert all_files(out / "examples") == all_files(result[0] / "examples")


def test_command_explains_a_wrong_folder_in_one_line(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text("name: tiny")
    arguments = ["--examples", str(tmp_path), "--config", str(config), "--out", str(tmp_path / "o")]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 1
    assert "not an examples folder" in run.output
    assert "Traceback" not in run.output
