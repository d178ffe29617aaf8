"""The component in TFX: its artifacts, and StatisticsGen reading them."""

import os

import pytest

from components.coco_example_gen.settings import CocoExampleGenSettings
from configs.schema import Config
from ground.errors import ConfigError
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

pytestmark = pytest.mark.e2e


def settings_of(**data):
    config = Config.model_validate({"name": "x", "data": data})
    return CocoExampleGenSettings.of(config)


def beam_context(folder):
    from tfx.dsl.components.base import base_beam_executor

    return base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=["--direct_running_mode=in_memory"], tmp_dir=str(folder)
    )


def artifact(kind, folder):
    os.makedirs(folder)
    result = kind()
    result.uri = str(folder)
    return result


@pytest.fixture
def converted(tmp_path, monkeypatch):
    """Runs the executor on two splits; returns its examples and rejects artifacts."""
    from tfx.types import standard_artifacts

    from components.artifacts import Rejects
    from components.coco_example_gen.executor import Executor

    monkeypatch.setattr("sys.argv", ["test"])
    for split, count in (("train", 5), ("val", 3)):
        write_dataset(
            tmp_path / "data" / split,
            [image(n) for n in range(count)],
            [annotation(n, n % (count - 1)) for n in range(6)],
        )
    settings = settings_of(
        train_annotations="train/instances.json",
        train_pictures="train/pictures",
        eval_annotations="val/instances.json",
        eval_pictures="val/pictures",
        train_shards=2,
        eval_shards=1,
    ).to_json()
    examples = artifact(standard_artifacts.Examples, tmp_path / "examples" / "1")
    rejects = artifact(Rejects, tmp_path / "rejects" / "1")
    Executor(beam_context(tmp_path)).Do(
        {},
        {"examples": [examples], "rejects": [rejects]},
        {"settings": settings, "data_dir": str(tmp_path / "data")},
    )
    return examples, rejects


def test_artifacts_say_what_is_in_them(converted):
    from tfx.components.util import examples_utils
    from tfx.proto import example_gen_pb2

    from model.examples import read_manifest

    examples, rejects = converted
    assert examples.split_names == '["train", "eval"]'
    assert examples_utils.get_payload_format(examples) == (
        example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE
    )
    splits = read_manifest(examples.uri)["splits"]
    assert {name: split["records"] for name, split in splits.items()} == {"train": 5, "eval": 3}
    assert {name: len(split["shards"]) for name, split in splits.items()} == {"train": 2, "eval": 1}
    assert sorted(os.listdir(rejects.uri)) == ["Split-eval", "Split-train", "counts.json"]


def test_statistics_gen_reads_the_examples(converted, tmp_path):
    import tensorflow_data_validation as tfdv
    from tfx.components.statistics_gen.executor import Executor
    from tfx.types import standard_artifacts

    statistics = artifact(standard_artifacts.ExampleStatistics, tmp_path / "statistics")
    Executor(beam_context(tmp_path)).Do(
        {"examples": [converted[0]]}, {"statistics": [statistics]}, {"exclude_splits": "[]"}
    )
    path = os.path.join(statistics.uri, "Split-train", "FeatureStats.pb")
    (found,) = tfdv.load_stats_binary(path).datasets
    assert found.num_examples == 5
    by_name = {feature.path.step[0]: feature for feature in found.features}
    assert by_name["image/object/bbox/xmax"].num_stats.common_stats.tot_num_values == 6
    assert by_name["image/width"].num_stats.mean == 30


def test_component_checks_policies_when_it_is_made():
    from components.coco_example_gen.component import CocoExampleGen

    component = CocoExampleGen("data", settings_of(), "abc", "def")
    assert set(component.outputs) == {"examples", "rejects"}
    assert component.exec_properties["pictures_digest"] == "abc"
    with pytest.raises(ConfigError, match="unknown reason code 'nonsense'"):
        CocoExampleGen("data", settings_of(policies={"nonsense": "drop"}))
