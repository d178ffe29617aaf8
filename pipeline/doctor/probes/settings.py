"""Reads a config, and looks at the data folder and the weights that it names; prints JSON."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ground.addresses import place_of, shown_address
from ground.console import explain
from ground.errors import RcnnError

if TYPE_CHECKING:
    from configs.schema import Config


def main(config_file: str, data_dir: str) -> None:
    """Prints a list of [check, "" or what is wrong, what is there]; and what a run would ask for.

    Args:
        config_file: YAML.
        data_dir: "" leaves it out.
    """
    from configs.loader import load_config

    try:
        config = load_config(Path(config_file), ())
    except (RcnnError, OSError) as error:
        print(json.dumps({"checks": [["config", explain(error), config_file]]}))
        return
    checks = [["config", "", f"{config_file} ({config.name})"], *_checks(config, data_dir)]
    store = config.pipeline.kubeflow.store_endpoint
    print(json.dumps({"checks": checks, "store": store}))


def _checks(config: "Config", data_dir: str) -> Iterator[list[str]]:
    from model.weights.files import check_start_weights

    weights = config.model.weights
    looked_at: list[tuple[str, str, Callable[[], object]]] = [
        ("weights", str(weights), lambda: check_start_weights(weights)),
        ("workers", f"train.batch {config.train.batch}", lambda: _check_workers(config)),
    ]
    if data_dir:
        looked_at.append(("data", shown_address(data_dir), lambda: _check_data(config, data_dir)))
    for name, place, check in looked_at:
        try:
            check()
        except (RcnnError, OSError) as error:
            yield [name, explain(error), place]
        else:
            yield [name, "", place]


def _check_data(config: "Config", data_dir: str) -> None:
    from pipeline.data_folder import check_data_folder, check_no_secrets

    check_no_secrets(config.data, place_of(data_dir))
    check_data_folder(config.data, place_of(data_dir))


def _check_workers(config: "Config") -> None:
    from model.launch.cluster import cluster_from_environment
    from model.launch.gpus import usable_environment
    from model.launch.host import check_workers
    from model.training_settings import TrainingSettings

    environ = usable_environment(config.train.device, os.environ)
    check_workers(TrainingSettings.of(config), cluster_from_environment(environ), environ)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
