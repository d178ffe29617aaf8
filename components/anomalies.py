"""Reads what ExampleValidator found; data with anomalies does not go on to training."""

import os
from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2

from ground.errors import DatasetError


def read_anomalies(folder: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Returns the anomalies of an ExampleAnomalies folder: split -> feature -> description."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(Path(folder).glob("Split-*/SchemaDiff.pb")):
        message = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        anomalies = {name: info.description for name, info in sorted(message.anomaly_info.items())}
        if message.HasField("dataset_anomaly_info"):
            anomalies["the split"] = message.dataset_anomaly_info.description
        found[path.parent.name.removeprefix("Split-")] = anomalies
    return found


def anomaly_lines(folder: str | os.PathLike[str]) -> list[str]:
    """Returns a line for each anomaly of an ExampleAnomalies folder."""
    return [
        f"{split}: {name}: {description}"
        for split, anomalies in read_anomalies(folder).items()
        for name, description in anomalies.items()
    ]


def refuse_anomalies(folder: str | os.PathLike[str]) -> None:
    """Does nothing where there are no anomalies.

    Raises:
        DatasetError: the first anomaly, and how many more there are.
    """
    found = anomaly_lines(folder)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise DatasetError(
            f"the records are not what the schema says: {found[0]}{more}: mend the data, or, if "
            "the data is right, pipeline/schema.pbtxt; transform.on_anomalies=warn goes on"
        )
