import json

import numpy as np
import pytest

from components.coco_transform.settings import CocoTransformSettings
from configs.schema import Config
from model.examples import read_manifest
from tests.components.coco_transform.sources import (
    encoded_picture,
    source_record,
    write_source_folder,
)

pytestmark = pytest.mark.e2e


@pytest.fixture
def source(tmp_path):
    records = [
        source_record(encoded_picture(np.full((40, 60, 3), 99, np.uint8)), 40, 60, image_id=i)
        for i in (1, 2)
    ]
    return write_source_folder(tmp_path / "source", {"train": [records], "eval": [records[:1]]})


def test_executor_fills_both_artifacts(source, tmp_path, monkeypatch):
    import tensorflow_data_validation as tfdv
    from tfx.components.statistics_gen.executor import Executor as StatisticsGen
    from tfx.components.util import examples_utils
    from tfx.proto import example_gen_pb2
    from tfx.types import artifact_utils, standard_artifacts

    from components.artifacts import DataReport
    from components.coco_transform.executor import Executor

    monkeypatch.setattr("sys.argv", ["pytest"])  # Beam's executors read it as their own
    examples, transformed = standard_artifacts.Examples(), standard_artifacts.Examples()
    examples.uri, transformed.uri = str(source), str(tmp_path / "transformed")
    report = DataReport()
    report.uri = str(tmp_path / "report")
    same = {"allow_same_splits": True}
    config = Config.model_validate({"name": "tiny", "input": {"short_side_px": 32}, "data": same})
    Executor().Do(
        {"examples": [examples]},
        {"transformed_examples": [transformed], "report": [report]},
        {"settings": CocoTransformSettings.of(config).to_json(), "source_digest": "0"},
    )
    assert artifact_utils.decode_split_names(transformed.split_names) == ["train", "eval"]
    payload_format = examples_utils.get_payload_format(transformed)
    assert payload_format == example_gen_pb2.FORMAT_TF_EXAMPLE
    splits = read_manifest(transformed.uri)["splits"]
    assert {name: split["records"] for name, split in splits.items()} == {"train": 2, "eval": 1}
    # A TFX component that reads the artifact by what it says of itself.
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(tmp_path / "statistics")
    StatisticsGen().Do(
        {"examples": [transformed]}, {"statistics": [statistics]}, {"exclude_splits": "[]"}
    )
    path = tmp_path / "statistics" / "Split-train" / "FeatureStats.pb"
    (found,) = tfdv.load_stats_binary(str(path)).datasets
    assert found.num_examples == 2
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())
    assert numbers["splits"]["train"]["pictures"]["written"] == 2
    assert (tmp_path / "report" / "report.html").is_file()


def test_component_wires_inputs_outputs_and_properties():
    from tfx.types import Channel, standard_artifacts

    from components.artifacts import DataReport
    from components.coco_transform.component import CocoTransform

    settings = CocoTransformSettings.of(Config(name="tiny"))
    component = CocoTransform(
        examples=Channel(type=standard_artifacts.Examples),
        anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
        settings=settings,
        source_digest="abc",
    )
    assert component.exec_properties == {
        "settings": settings.to_json(),
        "source_digest": "abc",
        "overrides": None,
    }
    assert set(component.inputs) == {"examples", "anomalies"}
    types = {name: channel.type for name, channel in component.outputs.items()}
    assert types == {"transformed_examples": standard_artifacts.Examples, "report": DataReport}


def test_validation_is_optional():
    from tfx.types import Channel, standard_artifacts

    from components.coco_transform.component import CocoTransform

    settings = CocoTransformSettings.of(Config(name="tiny"))
    component = CocoTransform(Channel(type=standard_artifacts.Examples), settings)
    assert set(component.inputs) == {"examples"}
