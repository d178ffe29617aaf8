"""What a SageMaker training container runs: `python -m pipeline.sagemaker.entry`.

In an image of one's own it is the entry point; in AWS's, scripts/sagemaker_start.sh calls it.

/opt/ml/input/config/hyperparameters.json   `config`, and settings such as train.epochs
/opt/ml/input/config/resourceconfig.json    the hosts, and which this one is
/opt/ml/input/data/examples                 CocoTransform's examples, or
/opt/ml/input/data/coco                     a COCO-format folder, of which they are made here
/opt/ml/input/data/config/<config>          a config that the image does not hold
/opt/ml/checkpoints                         synchronised with S3 while it runs
/opt/ml/model/1                             the SavedModel, as TensorFlow Serving wants it
/opt/ml/output/data/run                     scalars, logs, throughput.json
/opt/ml/output/failure                      one line, where it failed
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from components.detection_trainer.settings import DetectionTrainerSettings
from configs.loader import load_config
from configs.schema import Config
from ground.console import OneLineCommand, explain
from ground.errors import ConfigError, DatasetError, RcnnError
from model.examples import TRAINING_SPLIT
from model.launch.cluster import cluster_from_environment
from model.launch.errors import TrainingStopped
from model.launch.launcher import train
from model.launch.progress import ProgressPrinter
from model.tracking.request import TrackingRequest
from tfx_rcnn import child_environment, command

_REPOSITORY = Path(__file__).resolve().parents[2]
_MODEL_VERSION = "1"
_LONGEST_FAILURE = 1024  # what SageMaker shows of it
# What AWS's toolkit reads and tuning jobs pass to every container among the hyperparameters.
_NOT_SETTINGS = ("sagemaker_", "_tuning_objective_metric")


@click.command(cls=OneLineCommand)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default="/opt/ml",
    show_default=True,
    help="SageMaker's folder in the container.",
)
def main(root: Path) -> None:
    """Train as the files in SageMaker's folder say; a failure is written where it looks for it."""
    try:
        os.environ.update(host_variables(root, os.environ))
        _train(root)
    except TrainingStopped as stopped:
        click.echo(str(stopped))
    except Exception as error:
        line = explain(error)
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output" / "failure").write_text(line[:_LONGEST_FAILURE], encoding="utf-8")
        click.echo(f"error: {line}", err=True)
        if not isinstance(error, RcnnError):
            raise
        sys.exit(error.exit_status)


def host_variables(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns SM_HOSTS and SM_CURRENT_HOST where only SageMaker's file says them.

    Its own training images set them; an image without its toolkit has the file alone.
    """
    path = root / "input/config/resourceconfig.json"
    if environ.get("SM_HOSTS") or not path.exists():
        return {}
    resources = _json(path)
    return {
        "SM_HOSTS": json.dumps(sorted(resources["hosts"])),
        "SM_CURRENT_HOST": resources["current_host"],
    }


def read_config(root: Path) -> tuple[Config, Path, list[str]]:
    """Returns the job's config, its file, and the settings among its hyperparameters.

    Raises:
        ConfigError: no config is named, it is nowhere, or a setting is wrong.
    """
    values = _json(root / "input/config/hyperparameters.json")
    values = {name: _plain(text) for name, text in values.items()}
    name = values.pop("config", None)
    if not name:
        raise ConfigError("hyperparameters: `config` names no config file")
    places = [root / "input/data/config" / Path(name).name, _REPOSITORY / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(f"hyperparameters: config {name}: neither in the image nor in a channel")
    settings = [f"{k}={v}" for k, v in values.items() if not k.startswith(_NOT_SETTINGS)]
    return load_config(path, settings), path, settings


def _train(root: Path) -> None:
    config, path, settings = read_config(root)
    examples = _examples(root / "input/data", config, path, settings)
    cluster = cluster_from_environment(os.environ)
    result = train(
        DetectionTrainerSettings.of(config),
        examples,
        root / "output/data",
        # As a URI: only checkpoints lie there, and not what changes with every step, all of
        # which SageMaker would send to S3. A half-sent one lacks its marker.
        f"file://{root.resolve()}/checkpoints",
        on_progress=ProgressPrinter(),
        model_dir=root / "model" / _MODEL_VERSION,
        run_dir=root / "output/data/run",
        tracking=TrackingRequest.of(config),
    )
    where = f"model {result.model_id[:12]} in {result.model_dir}" if cluster.is_chief else "done"
    click.echo(f"{result.steps} steps, {result.images_per_second:.2f} images/s, {where}")


def _examples(channels: Path, config: Config, config_path: Path, settings: list[str]) -> Path:
    """Returns the folder of the examples; makes them where the channel holds COCO-format data."""
    given = channels / "examples"
    if given.is_dir():
        return given
    if not (channels / "coco").is_dir():
        raise DatasetError(f"{channels}: expected a channel named examples or coco")
    out = Path(tempfile.mkdtemp(prefix="tfx-rcnn-examples-"))
    common = ["--config", str(config_path), *(f"--set={setting}" for setting in settings)]
    places = ["--data-dir", str(channels / "coco"), "--out", str(out / "records")]
    named = [text for split in _splits(config) for text in ("--split", split)]
    _run("components.coco_example_gen", [*places, *named, *common])
    records = ["--examples", str(out / "records/examples"), "--out", str(out / "transformed")]
    _run("components.coco_transform", [*records, *common])
    return out / "transformed/examples"


def _splits(config: Config) -> list[str]:
    """Returns the splits that are needed; none where the command makes them of the config."""
    if config.data.split is not None or config.data.sources:
        return []
    needed = {"train": TRAINING_SPLIT}
    if config.train.validate_every_epochs:
        needed["eval"] = config.train.validation_split
    return [
        f"{needed[each.split]}={each.annotations}:{each.pictures}"
        for each in config.data.inputs()
        if each.split in needed
    ]


def _run(module: str, arguments: list[str]) -> None:
    """Runs one of our commands.

    Raises:
        DatasetError: it failed; with the last line that it said.
    """
    done = subprocess.run(
        command(module, *arguments),
        env=child_environment(os.environ),
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    sys.stderr.write(done.stderr)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with status {done.returncode}"]
        raise DatasetError(f"{module}: {last[0].removeprefix('error: ')}")


def _plain(value: object) -> str:
    """Returns a hyperparameter as it was meant: AWS's container gets each as JSON.

    What would not survive the shell of AWS's container is JSON inside that (`job.py` beside this).
    """
    text = str(value)
    while text.startswith('"'):
        try:
            text = str(json.loads(text))
        except json.JSONDecodeError:
            break
    return text


def _json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    return values


if __name__ == "__main__":
    main(prog_name="python -m pipeline.sagemaker.entry")
