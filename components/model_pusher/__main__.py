"""ModelPusher alone: an evaluated model goes into service.

    python -m components.model_pusher --model M/model --decision E/decision.json \
        --folder serving --name cells

Pushes only what the decision, of `python -m components.coco_evaluator`, blesses: the very files
that it was made about. Else it ends with status 3.
"""

import sys
from pathlib import Path

import click

from components.model_pusher.decision import NotBlessedError, blessed_model
from components.model_pusher.registry import check_model_name, check_push_folder, push
from ground.console import OneLineCommand, finish, one_line_errors
from ground.errors import EXIT_REFUSED, ModelError
from ground.speech import RESULT, say, speech_options
from model.model_folder import find_saved_model, read_model_id


@click.command(
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn push --model M/model "
    "--decision E/decision.json --folder serving --name cells",
)
@click.option("--model", required=True, type=click.Path(), help="Folder of the exported model.")
@click.option("--decision", required=True, type=click.Path(), help="decision.json about it.")
@click.option("--folder", required=True, type=click.Path(), help="Base of the served models.")
@click.option("--name", required=True, help="Of the model, a folder below it.")
@speech_options
@one_line_errors
def main(model: str, decision: str, folder: str, name: str) -> None:
    """Copies a blessed model to FOLDER/NAME/<version>, each model once."""
    try:
        check_model_name(name)
    except ModelError as error:
        raise click.UsageError(str(error)) from None
    check_push_folder(folder, name, [model, decision])
    model_id = read_model_id(find_saved_model(model))
    try:
        evaluated = blessed_model(decision, model_id)
    except NotBlessedError as refusal:
        say(str(refusal), RESULT)
        sys.exit(EXIT_REFUSED)
    note = {"decision_digest": evaluated.decision_digest}
    pushed, is_new = push(model, folder, name, evaluated.model_digest, note)
    summary = {"pushed_model": str(pushed.path), "version": pushed.version, "model_id": model_id}
    what = "pushed to" if is_new else "not copied again, the newest version is this model:"
    finish(summary | {"is_new": is_new}, Path(folder) / name, [f"{what} {pushed.path}"])


if __name__ == "__main__":
    main(prog_name="python -m components.model_pusher")
