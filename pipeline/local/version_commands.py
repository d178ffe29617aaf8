"""The commands about what was done and what is served: history, rollback, bless.

A root (`--root`) has a history in MLMD and knows where its runs push; without one, `--folder` and
`--name` name a folder of served versions, as on a cluster's shared volume.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.model_pusher.push_note import checked_words
from ground.command_options import FILE
from ground.console import (
    OneLineCommand,
    one_line_errors,
    print_document,
    print_table,
    show_lines,
)
from ground.errors import ModelError, RcnnError
from ground.speech import say_warning, speech_options

if TYPE_CHECKING:
    from pipeline.local.history import Entry, Pushes
    from pipeline.local.run_folder import RunFolder

_root_option = click.option("--root", type=FILE, help="Folder of the runs (`run --root`).")
_folder_option = click.option(
    "--folder", type=FILE, help="Base of the served models; with --name in place of --root."
)
_name_option = click.option("--name", help="Of the model, a folder below --folder.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command(
    "history", cls=OneLineCommand, epilog="Example: tfx-rcnn history --root runs/demo --diff 1 2"
)
@_root_option
@_folder_option
@_name_option
@click.option("--diff", nargs=2, metavar="A B", help="What differs between two runs of the list.")
@click.option(
    "--last", type=click.IntRange(1), default=30, show_default=True, help="Entries that are shown."
)
@_json_option
@speech_options
@one_line_errors
def history(
    root: Path | None,
    folder: Path | None,
    name: str | None,
    diff: tuple[str, str] | None,
    last: int,
    as_json: bool,
) -> None:
    """Lists runs with data, numbers, verdicts and versions, and what people did to versions.

    An entry of --diff is its number, a run's id, or v and the version that a run pushed.
    """
    if root is None:
        if diff:
            raise click.UsageError("--diff needs --root: numbers of runs are in its MLMD")
        pushes = _places(root, folder, name)
        _show_versions(pushes, last, as_json)
        return
    if folder:
        raise click.UsageError("give --root, or --folder and --name, not both")
    from pipeline.local.history import History, chosen_run
    from pipeline.local.history_lines import (
        COLUMNS,
        difference,
        difference_lines,
        remarks,
        table_rows,
    )

    entries = History(_run_folder(root).metadata).entries()
    names = sorted({entry.name for entry in entries})
    entries = [entry for entry in entries if name in (None, entry.name)]
    if names and not entries:
        raise RcnnError(f"{root}: no entry of {name!r:.80}, only of {', '.join(names)}")
    if diff:
        found = difference(chosen_run(entries, diff[0]), chosen_run(entries, diff[1]))
        print_document(found) if as_json else show_lines(difference_lines(found))
        return
    shown = entries[-last:]
    if as_json:
        print_document({"root": str(root), "entries": [_plain(entry) for entry in shown]})
        return
    if not shown:
        show_lines([f"{root}: nothing was run here yet"])
        return
    print_table(COLUMNS, table_rows(shown))
    left_out = [f"{len(entries) - len(shown)} earlier: --last"] if len(entries) > len(shown) else []
    show_lines([*left_out, *remarks(shown)])


@click.command(
    "rollback",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn rollback --root runs/demo --to 1 --because 'dogs are lost'",
)
@click.option(
    "--to", type=click.IntRange(1), required=True, help="Version that is to be served again."
)
@_root_option
@_folder_option
@_name_option
@click.option("--by", help="Who goes back.")
@click.option("--because", help="Why.")
@_json_option
@speech_options
@one_line_errors
def rollback(
    to: int,
    root: Path | None,
    folder: Path | None,
    name: str | None,
    by: str | None,
    because: str | None,
    as_json: bool,
) -> None:
    """Puts an older blessed version back into service, as a new version that is the newest.

    The next models are compared with it, and what was rolled back from is not pushed again by a
    run.
    """
    from components.model_pusher.rollback import roll_back

    words = [_words(word, option) for word, option in ((by, "--by"), (because, "--because"))]
    pushes = _places(root, folder, name)
    pushed, is_new = roll_back(pushes.folder, pushes.name, to, *words)
    record = _record(root, pushes) if is_new else "nothing to record"
    line = f"version {pushed.version} is version {to} again: {pushed.path}"
    if not is_new:
        line = f"nothing to do: the newest version, {pushed.version}, is that model already"
    found = {"version": pushed.version, "path": str(pushed.path), "is_new": is_new}
    found |= {"model_id": pushed.model_id, "record": record}
    print_document(found) if as_json else show_lines([line, f"record: {record}"])


@click.command(
    "bless",
    cls=OneLineCommand,
    epilog="Example: tfx-rcnn bless --root runs/demo --by Ada --because 'rare classes count more'",
)
@click.option("--by", required=True, help="Who blesses it.")
@click.option("--because", required=True, help="Why, against the gate.")
@_root_option
@click.option(
    "--run", "run_word", help="Of the root: number or id in its history.  [default: last]"
)
@click.option("--model", type=FILE, help="Exported model, in place of --root.")
@click.option("--decision", type=FILE, help="decision.json about that model.")
@_folder_option
@_name_option
@_json_option
@speech_options
@one_line_errors
def bless(
    by: str,
    because: str,
    root: Path | None,
    run_word: str | None,
    model: Path | None,
    decision: Path | None,
    folder: Path | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Pushes a model that the gate refused, by a person's word, which is recorded with it."""
    from components.model_pusher.override import bless as bless_model

    who, why = str(_words(by, "--by")), str(_words(because, "--because"))
    if root is not None and (model or decision):
        raise click.UsageError("give --root, or --model, --decision, --folder and --name, not both")
    if root is None and not (model and decision):
        raise click.UsageError("give --root, or --model, --decision, --folder and --name")
    pushes = _places(root, folder, name)
    if root is not None:
        places = _refused_run(root, pushes.name, run_word)
    else:
        places = Path(str(model)), Path(str(decision))
    pushed, is_new, refused = bless_model(*places, pushes.folder, pushes.name, who, why)
    record = _record(root, pushes) if is_new else "nothing to record"
    line = f"pushed to {pushed.path}, blessed by {who} against the gate ({refused.reason})"
    if not is_new:
        line = f"nothing to do: the newest version, {pushed.version}, is this model already"
    found = {"version": pushed.version, "path": str(pushed.path), "is_new": is_new}
    found |= {"model_id": pushed.model_id, "record": record, "against": refused.reason}
    print_document(found) if as_json else show_lines([line, f"record: {record}"])


def _words(words: str | None, option: str) -> str | None:
    try:
        return None if words is None else checked_words(words, option)
    except ModelError as error:
        raise click.UsageError(str(error)) from None


def _run_folder(root: Path) -> "RunFolder":
    from pipeline.local.run_folder import RunFolder

    return RunFolder(root.resolve())


def _places(root: Path | None, folder: Path | None, name: str | None) -> "Pushes":
    """Returns where models are pushed: by the runs of a root, or as the options say.

    Raises:
        RcnnError: the root has no run that pushed, or several models.
    """
    from components.model_pusher.registry import check_model_name
    from pipeline.local.history import History, Pushes

    if (root is None) == (folder is None):
        raise click.UsageError("give either --root, or --folder and --name")
    if name is not None:
        try:
            check_model_name(name)
        except ModelError as error:
            raise click.UsageError(str(error)) from None
    if folder is not None:
        if name is None:
            raise click.UsageError("--folder needs --name: the model's folder in it")
        return Pushes(folder.resolve(), name)
    run_folder = _run_folder(Path(str(root)))
    pushes = History(run_folder.metadata).pushes(name)
    was_moved = not pushes.folder.is_dir() or _is_of_another_root(pushes.folder, run_folder)
    if was_moved and run_folder.serving.is_dir():
        return dataclasses.replace(pushes, folder=run_folder.serving)
    return pushes


def _is_of_another_root(folder: Path, own: "RunFolder") -> bool:
    """Returns whether a folder of served models belongs to the root that a root was copied from."""
    other = _run_folder(folder.parent)
    is_a_root = folder.resolve() == other.serving and other.metadata.is_file()
    return is_a_root and not other.metadata.samefile(own.metadata)


def _record(root: Path | None, pushes: "Pushes") -> str:
    """Writes a root's record of what was done, and returns where it stands."""
    if root is None:
        return "push.json of the version; a root that pushes there records it with its next run"
    from pipeline.local.versions_record import record_versions

    metadata = _run_folder(root).metadata
    try:
        record_versions(metadata, pushes.folder, pushes.name)
    except RcnnError as error:
        say_warning(f"{error}; push.json has it, and the next run records it")
        return "push.json of the version"
    return f"push.json of the version, {metadata}"


def _refused_run(root: Path, name: str, word: str | None) -> tuple[Path, Path]:
    """Returns the model and the decision of a run that the gate refused.

    Args:
        root: folder of the runs.
        name: name of the model.
        word: number or id of the run; None is the last one that has a verdict.

    Raises:
        RcnnError: there is none, or it was not refused.
    """
    from pipeline.local.history import RUN, History, chosen_entry

    entries = [e for e in History(_run_folder(root).metadata).entries() if e.name == name]
    judged = [e for e in entries if e.kind == RUN and e.blessed is not None]
    entry = chosen_entry(entries, word) if word else (judged[-1] if judged else None)
    if entry is None or entry not in judged:
        which = f"run {word}" if word else "no run"
        raise RcnnError(f"{root}: {which} of {name} has no verdict that a person could set aside")
    return Path(entry.model), Path(entry.evaluation) / "decision.json"


def _show_versions(pushes: "Pushes", last: int, as_json: bool) -> None:
    """Shows what lies in a folder of served versions."""
    from components.model_pusher.registry import pushed_versions
    from pipeline.local.history_lines import VERSION_COLUMNS, version_rows

    versions = pushed_versions(pushes.folder, pushes.name)
    if not versions:
        raise ModelError(f"{pushes.folder / pushes.name}: holds no version of a model")
    if as_json:
        found = [
            {"version": v.version, "path": str(v.path), "model_id": v.model_id}
            | {"push": v.note.model_dump(mode="json") if v.note else None}
            for v in versions[-last:]
        ]
        print_document({"folder": str(pushes.folder), "name": pushes.name, "versions": found})
        return
    print_table(VERSION_COLUMNS, version_rows(versions)[-last:])


def _plain(entry: "Entry") -> dict[str, Any]:
    return dataclasses.asdict(entry)
