"""From a COCO-format folder to a trained model in one call, without TFX; README's ten lines use it.

The rest of the library's face are functions of their own: `configs.loader.load_config`,
`model.detector.build_detector`, `model.export.export_saved_model`, `model.predict.LoadedModel`.
"""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.beam_options import beam_arguments
from configs.schema import Config
from ground.addresses import place_of
from ground.outputs import output_folder
from pipeline.data_folder import check_data_folder, read_by_a_run

if TYPE_CHECKING:  # loads TensorFlow
    from model.launch.launcher import TrainResult

_WRITER = "pipeline.library"
_WRITTEN = ("examples", "records", "rejects", "report.html", "report.json")


def train_on_coco(
    config: Config,
    data_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    on_progress: Callable[[str], None] = logging.info,
) -> "TrainResult":
    """Converts, transforms and trains; the same call again goes on where the last one was cut off.

    Args:
        config: what to train, and how; its `data` names the files in `data_dir`.
        data_dir: the COCO-format folder, or its address.
        out: gets `model/`, `run/` and `data/` (examples, rejects and the data report).
        on_progress: called with a line now and then.

    Returns:
        What came out: `model_dir` is what `LoadedModel` loads.

    Raises:
        RcnnError: the config, the data or the training, as the commands say it.
    """
    from model.launch.launcher import train
    from model.launch.places import claim_output
    from model.training_settings import TrainingSettings

    data_dir, out = place_of(os.fspath(data_dir)), Path(out)
    check_data_folder(config.data, data_dir)
    claim_output(str(out), None, read_by_a_run(config, data_dir))
    records = prepare_coco(config, data_dir, out / "data", on_progress)
    return train(TrainingSettings.of(config), records, out)


def prepare_coco(
    config: Config,
    data_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    on_progress: Callable[[str], None] = logging.info,
) -> Path:
    """Makes the records that training reads, and a report on the data; returns their folder.

    Args:
        config: its `data`, `input`, `transform` and `model` count.
        data_dir: the COCO-format folder, or its address.
        out: gets `examples/`, `rejects/`, `records/`, `report.html` and `report.json`.
        on_progress: called with a line now and then.

    Raises:
        ConfigError: a setting fits no data.
        DatasetError: a file is missing or damaged, or more is lost than the limits allow.
        OutputError: something in `out` would be harmed.
    """
    data_dir, out = place_of(os.fspath(data_dir)), Path(out)
    with output_folder(out, _WRITER, _WRITTEN, read_by_a_run(config, data_dir)) as new:
        make_pipeline = _beam_pipelines(config)
        from components.coco_example_gen.together import sources_of
        from components.coco_example_gen.whole import convert
        from components.coco_transform.settings import CocoTransformSettings
        from components.coco_transform.whole import transform_examples

        sources = sources_of(config.data, data_dir)
        examples = new / "examples"
        convert(sources, examples, new / "rejects", config.data, make_pipeline, on_progress)
        settings = CocoTransformSettings.of(config)
        transform_examples(examples, new / "records", new, settings, make_pipeline, on_progress)
    return out / "records"


def _beam_pipelines(config: Config) -> Callable[[], Any]:
    """Returns what makes Beam pipelines by the config's options."""
    # Google's clients, which Beam loads, find Python 3.10 and TFX's grpcio old.
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.beam_workers import start_safely

    start_safely()
    options = PipelineOptions(beam_arguments(config.pipeline.beam_args))
    return lambda: beam.Pipeline(options=options)
