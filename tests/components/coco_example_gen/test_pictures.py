"""What becomes of strangers' pictures in a whole conversion."""

import collections
import os

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from components.coco_example_gen.source import SplitSource
from components.coco_example_gen.whole import convert
from components.coco_transform.picture import training_picture
from configs.schema import DataConfig
from model import records
from model.examples import iterate_records
from model.input.resize import decode_picture
from model.pictures import servable
from model.tf_example import decode_example
from tests.components.coco_example_gen.small_dataset import annotation, image, jpeg, write_dataset
from tests.picture_zoo import HEIGHT, WIDTH, zoo

ZOO = zoo()


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Returns the counts by reason, and the records by file name, of the zoo and more."""
    folder = tmp_path_factory.mktemp("zoo")
    files = {f"{n}.jpg": content for n, (content, _) in enumerate(ZOO.values())}
    names = [*files, "pipe.jpg", "folder.jpg", "loop.jpg", "../secret.jpg", "link.jpg", "n" * 300]
    entries = [image(n, name, HEIGHT, WIDTH) for n, name in enumerate(names, 1)]
    objects = [annotation(n, n) for n in range(1, len(names) + 1)]
    write_dataset(folder, entries, objects, pictures=files)
    (folder / "secret.jpg").write_bytes(jpeg(HEIGHT, WIDTH))
    os.mkfifo(folder / "pictures/pipe.jpg")
    (folder / "pictures/folder.jpg").mkdir()
    (folder / "pictures/loop.jpg").symlink_to("loop.jpg")
    (folder / "pictures/link.jpg").symlink_to(folder / "secret.jpg")
    summary = convert(
        [SplitSource("train", folder / "instances.json", folder / "pictures", 1)],
        folder / "examples",
        folder / "rejects",
        DataConfig(max_rejected_fraction=1.0),
        lambda: beam.Pipeline(options=PipelineOptions(["--direct_running_mode=in_memory"])),
        lambda line: None,
    )
    stored = [decode_example(r) for r in iterate_records(folder / "examples", "train")]
    by_name = {record[records.FILENAME][0].decode(): record for record in stored}
    return summary["splits"]["train"]["reasons"], by_name


def test_each_flaw_is_counted_under_its_reason(converted):
    expected = collections.Counter(code for _, code in ZOO.values() if code)
    # The pipe, the folder, the loop and the long name; the path and the link that lead out.
    expected += collections.Counter(picture_unreadable=4, path_outside_folder=2)
    expected["exif_turned"] = 1
    assert converted[0] == dict(expected)


def test_what_is_left_decodes_everywhere_to_the_same_pixels(converted):
    for number, (name, (content, code)) in enumerate(ZOO.items()):
        record = converted[1].pop(f"{number}.jpg", None)
        assert (record is not None) == (
            code in ("", "picture_without_end", "picture_metadata_damaged")
        ), name
        if record is None:
            continue
        encoded = record[records.ENCODED][0]
        if code != "picture_without_end":
            assert encoded == content, name
        pixels = decode_picture(encoded).numpy().astype(int)
        assert pixels.shape == (HEIGHT, WIDTH, 3), name
        served = servable(encoded, name, is_checked=True)
        trained = training_picture(encoded, HEIGHT, WIDTH, 100)
        if served.orientation == 1:
            assert np.array_equal(decode_picture(served.encoded), pixels), name
            decoded = decode_picture(trained.jpeg).numpy().astype(int)
            assert np.abs(decoded - pixels).mean() < 3, name
    assert not converted[1]
