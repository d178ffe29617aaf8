"""CocoEvaluator alone: plain folders and files in, plain files out.

    python -m components.coco_evaluator --model M/model --examples O/examples --split eval --out E

`--detections RESULTS.json` may stand in place of the model, `--annotations INSTANCES.json` in
place of the examples. Writes `metrics.json`, `detections.json`, `decision.json`, `analysis.json`,
`label_errors.json`, `report.html` and `summary.json`. Without `--config` there are no thresholds,
so nothing is blessed.
"""

import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from components.coco_evaluator.baseline import Baseline, named_baseline
from components.coco_evaluator.evaluation import (
    ANALYSIS_FILE,
    DECISION_FILE,
    DETECTIONS_FILE,
    LABEL_ERRORS_FILE,
    METRICS_FILE,
    REPORT_FILE,
    Evaluated,
    detect_pushed,
    detect_with_model,
    detected_of_file,
    evaluate_to_folder,
)
from components.coco_evaluator.findings import Narrowing, finding_lines
from components.coco_evaluator.judgement import Detected
from components.coco_evaluator.kept_detections import claim_detections_dir
from components.coco_evaluator.settings import CocoEvaluatorSettings
from components.coco_evaluator.sources import AnnotationsSource, ExamplesSource, Source
from configs.loader import default_config, load_config
from configs.metric_names import METRIC_NAMES
from configs.schema import DataConfig
from ground.command_options import config_option, set_option
from ground.console import OneLineCommand, one_line_errors, show_lines
from ground.errors import EXIT_FAILED, EXIT_REFUSED, DatasetError, ModelError
from ground.files import write_json
from ground.output_record import SUMMARY_FILE, read_record
from ground.outputs import output_folder, settle_inputs
from ground.speech import say, say_error, speech_options
from ground.wording import plural
from model.evaluation.results import read_detections
from model.model_folder import find_saved_model
from model.quiet_tensorflow import quiet_tensorflow

WRITTEN = (
    METRICS_FILE,
    DETECTIONS_FILE,
    DECISION_FILE,
    ANALYSIS_FILE,
    LABEL_ERRORS_FILE,
    REPORT_FILE,
    SUMMARY_FILE,
)
_WRITER = "components.coco_evaluator"
_MOST_FAILURES = 20  # on the screen
_WHOLE_NUMBER = re.compile(r"\s*-?[0-9]{1,19}\s*")


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn evaluate --model M/model --examples O/examples "
    "--split eval --config configs/coco_tiny.yaml --out E",
)
@click.option("--model", "model_folder", type=click.Path(), help="Folder of the exported model.")
@click.option(
    "--detections", type=click.Path(), help="Detections in COCO's results form, for the model."
)
@click.option("--examples", type=click.Path(), help="Examples folder of CocoExampleGen.")
@click.option(
    "--split",
    default="eval",
    show_default=True,
    help="Of the examples, or of the annotations where the config's data.split splits them (all: "
    "the whole file).",
)
@click.option("--annotations", type=click.Path(), help="COCO instances file, for the examples.")
@click.option("--pictures", type=click.Path(), help="Folder of the pictures in --annotations.")
@config_option("YAML config with the thresholds.  [default: none]", required=False)
@set_option
@click.option("--baseline", type=click.Path(), help="Exported model to compare with.")
@click.option("--image-ids", type=click.Path(), help="File of image ids: only these count.")
@click.option("--category-ids", metavar="ID,ID,...", help="Only these categories count.")
@click.option("--class-agnostic", is_flag=True, help="Any category of a detection is right.")
@click.option(
    "--detections-dir", type=click.Path(), help="Keep detections here, by model and examples."
)
@click.option("--require-blessed", is_flag=True, help="End with status 3 if not blessed.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder.")
@speech_options
@one_line_errors
def main(
    model_folder: str | None,
    detections: str | None,
    examples: str | None,
    split: str,
    annotations: str | None,
    pictures: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    baseline: str | None,
    image_ids: str | None,
    category_ids: str | None,
    class_agnostic: bool,
    detections_dir: str | None,
    require_blessed: bool,
    out: Path,
) -> None:
    """Measures detections as COCO does, and decides whether the model is blessed."""
    _check_usage(model_folder, detections, examples, annotations, pictures)
    started = time.monotonic()
    config = load_config(config_file, overrides) if config_file else default_config(overrides)
    settings = CocoEvaluatorSettings.of(config).evaluate
    narrowing = _narrowing(image_ids, category_ids, class_agnostic)
    settle_inputs([model_folder, baseline, examples, detections])
    models = [_saved_model_or_folder(model_folder)] if model_folder else []
    read = [*models, baseline, detections, examples, annotations, pictures, config_file, image_ids]
    if detections_dir is not None:
        claim_detections_dir(detections_dir, read)

    with output_folder(out, _WRITER, WRITTEN, read) as new:
        _withdraw(out)
        source = _source(examples, annotations, pictures, split, config.data)
        folder = None if model_folder is None else find_saved_model(model_folder)
        found = [] if detections is None else read_detections(detections)
        reading = source.reading  # what the data lack is said before a model is loaded

        def run_model(folder: Path, is_baseline: bool = False) -> Detected:
            return detect_with_model(
                folder, source, settings.batch_size, detections_dir, narrowing, say, is_baseline,
                settings.served_pictures,
            )  # fmt: skip

        with quiet_tensorflow():
            chosen = named_baseline(baseline) if baseline else Baseline()
            candidate = (
                detected_of_file(str(detections), found) if folder is None else run_model(folder)
            )
            pushed = detect_pushed(
                chosen, settings.best_of_last - 1, candidate.model_id,
                lambda f: run_model(f, is_baseline=True),
                settings.on_unusable_baseline == "ignore",
            )  # fmt: skip
        evaluated = evaluate_to_folder(source, candidate, pushed, settings, new, narrowing)
        summary = _summary(evaluated, reading, out, time.monotonic() - started)
        write_json(new / SUMMARY_FILE, summary)
    show_lines(_lines(evaluated, out))
    dead = () if candidate.is_measured else candidate.unservable
    _show_failures([*dead, *candidate.failed, *(pushed.newest.failed if pushed.newest else ())])
    if require_blessed and not evaluated.decision.blessed:
        sys.exit(EXIT_REFUSED)


def _check_usage(
    model_folder: str | None,
    detections: str | None,
    examples: str | None,
    annotations: str | None,
    pictures: str | None,
) -> None:
    """Checks that there is one thing to judge and one thing to judge it by.

    Raises:
        click.UsageError: there is none, or there are two.
    """
    if (model_folder is None) == (detections is None):
        raise click.UsageError("give either --model or --detections")
    if (examples is None) == (annotations is None):
        raise click.UsageError("give either --examples or --annotations")
    if model_folder and annotations and pictures is None:
        raise click.UsageError("--model with --annotations needs --pictures FOLDER")


def _narrowing(image_ids: str | None, category_ids: str | None, class_agnostic: bool) -> Narrowing:
    """Returns what part of the ground truth counts, by the options."""
    return Narrowing(
        None if image_ids is None else _ids_in_file(image_ids),
        None if category_ids is None else _ids(category_ids.split(","), "--category-ids"),
        class_agnostic,
    )


def _source(
    examples: str | None,
    annotations: str | None,
    pictures: str | None,
    split: str,
    data: DataConfig,
) -> Source:
    if annotations is None:
        return ExamplesSource(str(examples), split)
    return AnnotationsSource(annotations, pictures, data, split)


def _show_failures(lines: list[str]) -> None:
    """Shows each picture that could not be measured; ends the command if there is one."""
    for line in lines[:_MOST_FAILURES]:
        say_error(line)
    if (more := len(lines) - _MOST_FAILURES) > 0:
        say_error(f"{plural(more, 'more picture')} could not be measured")
    if lines:
        sys.exit(EXIT_FAILED)


def _saved_model_or_folder(folder: str) -> Path:
    """Returns the SavedModel in a folder; where there is none, which is said later, the folder."""
    try:
        return find_saved_model(folder)
    except ModelError:
        return Path(folder)


def _withdraw(out: Path) -> None:
    """Removes what an earlier run wrote: one that fails must not leave its verdict as its own."""
    record = read_record(out)
    for name in sorted(record.names(_WRITER)) if record else []:
        (out / name).unlink(missing_ok=True)


def _ids_in_file(path: str) -> frozenset[int]:
    """Returns the ids in a file: a JSON list, or numbers with spaces or line ends between."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
        words = json.loads(text) if text.startswith("[") else text.replace(",", " ").split()
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read as image ids ({error})") from None
    return _ids(words, path)


def _ids(words: list[Any], where: str) -> frozenset[int]:
    for word in words:
        if type(word) is not int and not (isinstance(word, str) and _WHOLE_NUMBER.fullmatch(word)):
            raise DatasetError(f"{where}: expected whole numbers, got {word!r:.60}")
    return frozenset(int(word) for word in words)


def _summary(
    evaluated: Evaluated,
    reading: Mapping[str, Any],
    out: Path,
    seconds: float,
) -> dict[str, Any]:
    decision = evaluated.decision
    return {
        "metrics": evaluated.metrics.numbers_by_kind(),
        "counts": evaluated.metrics.to_dict()["counts"],
        "ground_truth": reading,
        "blessed": decision.blessed,
        "reason": decision.reason,
        "findings": [asdict(finding) for finding in decision.findings],
        "report": str(out / REPORT_FILE),
        "seconds": round(seconds, 3),
    }


def _lines(evaluated: Evaluated, out: Path) -> list[str]:
    decision = evaluated.decision
    lines = ["      " + "".join(f"{name:>7}" for name in METRIC_NAMES)]
    for kind, of_kind in evaluated.metrics.by_kind.items():
        numbers = (of_kind.numbers[name] for name in METRIC_NAMES)
        lines.append(f"{kind:6}" + "".join("      -" if n < 0 else f"{n:7.3f}" for n in numbers))
    lines += finding_lines(asdict(finding) for finding in decision.findings)
    lines += evaluated.remarks
    verdict = "blessed" if decision.blessed else "not blessed"
    return [*lines, f"{verdict}: {decision.reason}", f"report: {out / REPORT_FILE}"]


if __name__ == "__main__":
    main(prog_name="python -m components.coco_evaluator")
