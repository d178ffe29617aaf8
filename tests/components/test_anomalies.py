"""What ExampleValidator found stops the run, in words that say where."""

from pathlib import Path

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.anomalies import read_anomalies, refuse_anomalies
from ground.errors import DatasetError


def _write(folder: Path, split: str, anomalies: dict[str, str]) -> None:
    message = anomalies_pb2.Anomalies()
    for name, description in anomalies.items():
        message.anomaly_info[name].description = description
    (folder / f"Split-{split}").mkdir()
    (folder / f"Split-{split}" / "SchemaDiff.pb").write_bytes(message.SerializeToString())


def test_no_anomalies_pass(tmp_path: Path) -> None:
    _write(tmp_path, "train", {})
    _write(tmp_path, "eval", {})
    assert read_anomalies(tmp_path) == {"train": {}, "eval": {}}
    refuse_anomalies(tmp_path)


def test_anomalies_are_refused_with_split_feature_and_number(tmp_path: Path) -> None:
    _write(tmp_path, "train", {})
    _write(tmp_path, "eval", {"image/width": "Too small.", "image/height": "Missing."})
    assert read_anomalies(tmp_path)["eval"]["image/width"] == "Too small."
    with pytest.raises(DatasetError, match=r"eval: image/height: Missing\. \(and 1 more\)"):
        refuse_anomalies(tmp_path)


def test_anomaly_of_the_whole_split_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "train", {})
    message = anomalies_pb2.Anomalies()
    message.dataset_anomaly_info.description = "Too few examples."
    (tmp_path / "Split-train" / "SchemaDiff.pb").write_bytes(message.SerializeToString())
    with pytest.raises(DatasetError, match="train: the split: Too few examples"):
        refuse_anomalies(tmp_path)
