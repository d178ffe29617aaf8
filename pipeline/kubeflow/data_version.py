"""The first task of a compiled pipeline: says what state data and weights are in.

KFP's cache knows the text of a parameter, not what lies at the place that it names. This task is
never taken from the cache; what it says goes into the tasks that read data and weights, so that a
recurring run sees new data, and is cached where there is none.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.data_schema import DataPlaces
from configs.parts import Part
from configs.section import Section, Text
from ground.addresses import is_address, place_of, shown_address
from ground.files import json_digest
from model.weights.files import weights_digest
from pipeline.data_folder import check_data_folder, check_no_secrets, pictures_digest
from pipeline.kubeflow.mirrors import stored_digest_parts

TASK = "DataVersion"
COMMAND_NAME = "data-version"


class _Weights(Section):
    weights: Text | None = None


class DataVersionSettings(Part):
    """Where data and weights lie."""

    data: DataPlaces
    model: _Weights


def run(arguments: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Writes the digests of data and weights, each into its file.

    Raises:
        DatasetError: the data is not what the settings say.
    """
    for name in ("data-dir", "settings", "data-file", "weights-file"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("overrides", "version"):
        parser.add_argument(f"--{name}", default="")
    given = parser.parse_args(arguments)
    settings = DataVersionSettings.from_json(given.settings, given.overrides)
    digest = json_digest([given.version, data_digest(settings.data, given.data_dir)])
    of_weights = digest_of_weights(settings.model.weights)
    for file, text in ((given.data_file, digest), (given.weights_file, of_weights)):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text, encoding="utf-8")
    print(f"data {digest[:12]} in {shown_address(given.data_dir)}", flush=True)


def data_digest(data: DataPlaces, data_dir: str) -> str:
    """Returns a digest of the data: in a store by names, sizes and the store's own tags.

    Raises:
        DatasetError: a file or a folder is not there.
        ConfigError: an address has a secret in it.
    """
    place = place_of(data_dir)
    check_no_secrets(data, place)
    check_data_folder(data, place)
    return pictures_digest(data, place)


def digest_of_weights(weights: str | None) -> str:
    """Returns a digest of the weights that a training starts from; "" without a file."""
    if not weights or not is_address(weights):
        return weights_digest(weights)
    folder, _, name = weights.rpartition("/")
    return json_digest(stored_digest_parts(folder, [name]))
