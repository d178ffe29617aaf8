"""A read that fails at a random place ends the run; the next one writes the same bytes."""

import builtins
import errno
import os
import random

import pytest
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions

from components.beam_options import beam_arguments
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.whole import transform_examples
from configs.schema import Config
from ground.console import explain
from tests.components.coco_example_gen.conversions import coco_like, files_of, run

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
OPTIONS = PipelineOptions(beam_arguments(["--direct_running_mode=in_memory"]))
SETTINGS = CocoTransformSettings.of(
    Config.model_validate({"name": "c", "input": {"short_side_px": 64, "long_side_px": 96}})
)


class Failing:
    """A file of which the disk gives some reads and no more."""

    def __init__(self, stream, reads):
        self._stream = stream
        self._left = reads

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stream.close()

    def read(self, *size):
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self._stream.read(*size)


@pytest.fixture
def fail(monkeypatch):
    """Returns what makes reads of a file fail within a module, after some."""

    def fail(module, part_of_path, reads=0):
        def opened(path, *arguments, **named):
            stream = builtins.open(path, *arguments, **named)
            place = os.readlink(f"/proc/self/fd/{stream.fileno()}")
            is_read = "b" in str(arguments[:1]) and "w" not in str(arguments[:1])
            return Failing(stream, reads) if is_read and part_of_path in place else stream

        monkeypatch.setattr(f"{module}.open", opened, raising=False)

    yield fail


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", ["picture", "json", "spool"])
def test_example_gen(tmp_path, fail, monkeypatch, what, seed):
    chance = random.Random(seed)
    folder = coco_like(tmp_path / "set")
    run(folder, tmp_path / "whole", shards=3)
    name = f"pictures/{7 * chance.randrange(30) if what == 'picture' else 0}."
    name = name.replace("28.", "35.")  # which is a PNG
    with monkeypatch.context():
        if what == "picture":
            fail("model.encoded.files", f"/{name}")
        elif what == "json":
            name = "instances.json"
            fail("model.coco.json_text", name, reads=chance.randrange(1, 3))
        else:
            name = f"spool-train/0000{chance.randrange(3)}"
            fail("components.coco_example_gen.shard", name, reads=chance.randrange(4))
        with pytest.raises(OSError, match="Input/output error") as error:
            run(folder, tmp_path / "out", shards=3)
    assert name in explain(error.value)
    assert "run the same again" in explain(error.value)
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []
    monkeypatch.undo()
    run(folder, tmp_path / "out", shards=3)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("seed", SEEDS)
def test_transform(tmp_path, fail, monkeypatch, seed):
    chance = random.Random(seed)
    run(coco_like(tmp_path / "set"), tmp_path / "e", shards=3)

    def transform(out):
        transform_examples(
            tmp_path / "e/examples",
            tmp_path / out / "examples",
            tmp_path / out,
            SETTINGS,
            lambda: Pipeline(options=OPTIONS),
            lambda line: None,
        )

    transform("whole")
    name = f"data_tfrecord-0000{chance.randrange(3)}-of-00003"
    fail("model.tfrecord", f"e/examples/Split-train/{name}", reads=chance.randrange(1, 12))
    with pytest.raises(OSError, match="Input/output error") as error:
        transform("out")
    assert name in explain(error.value)
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []
    monkeypatch.undo()
    transform("out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
