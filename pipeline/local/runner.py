"""Runs the graph here with TFX's LocalDagRunner, and says in a few lines what came out."""

import contextlib
import dataclasses
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from configs.schema import Config
from ground.addresses import Place, is_address
from ground.console import explain, finish, show_lines
from ground.errors import ModelError, RcnnError
from ground.files import atomic_path, file_digest
from ground.interrupts import say_if_interrupted
from ground.speech import say_warning
from model.launch.errors import TrainingStopped
from model.tracking.request import TrackingRequest, asked_for
from model.weights.files import weights_digest
from pipeline.data_folder import pictures_digest, read_by_a_run
from pipeline.local.run_folder import RunFolder
from pipeline.quiet import quiet_libraries
from pipeline.screen import own_lines_shown, show, show_meanwhile

_SCHEMA_FILE = Path(__file__).parents[1] / "schema.pbtxt"


class ComponentError(RcnnError, RuntimeError):
    """A component failed; the message is its own."""


@dataclasses.dataclass(frozen=True)
class NodeRun:
    """What happened to one node; `outcome` is "ran", "cached" or "resolved"."""

    node: str
    seconds: float
    outcome: str


def run_pipeline(
    config: Config,
    data_dir: Place,
    root: Path,
    from_node: str | None = None,
    to_node: str | None = None,
    use_cache: bool = True,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Runs the pipeline, prints its summary and writes it as `<root>/summary.json`.

    Args:
        config: all settings.
        data_dir: COCO-format folder, or its address, checked by `check_data_folder`.
        root: folder of everything that the run writes.
        from_node: first node to run; what it needs comes from the last run.
        to_node: last node to run.
        use_cache: reuse what an earlier run made of the same inputs, settings and code.
        dry_run: print the graph and run nothing.

    Returns:
        The summary (docs/running.md); empty after a dry run. Of a run whose training was asked to
        stop: `resumable` and the `step`.

    Raises:
        KeyboardInterrupt: Ctrl-C came, in the training too.
        FolderInUseError: another run is at work in `root`.
        ComponentError: a component failed.
        RcnnError: `from_node` was given and there is no earlier run.
    """
    folder = RunFolder(root.resolve())
    request = TrackingRequest.of(config)
    say_if_interrupted("what is done stays done: run the same again to go on")
    with folder.locked(read_by_a_run(config, data_dir)), quiet_libraries(folder.log):
        pipeline = _graph(config, data_dir, folder, use_cache)
        if dry_run:
            show_lines(describe_graph(pipeline))
            return {}
        # A run that fails must not leave the summary of the one before as its own.
        folder.summary.unlink(missing_ok=True)
        _record_versions(folder, config)
        try:
            with asked_for(request):
                runs, run_id = _run_graph(pipeline, folder, _partial_run(from_node, to_node))
        except TrainingStopped as stopped:
            so_far = {"resumable": True, "step": stopped.step}
            finish(so_far, folder.root, [])
            stopped.raise_if_interrupted()
            show_lines([str(stopped)])
            return so_far
        from pipeline.local.run_summary import summarise, summary_lines
        from pipeline.local.tracked_summary import tell_trackers

        summary = summarise(folder, run_id)
        summary["seconds"] = {run.node: round(run.seconds, 2) for run in runs}
        finish(summary, folder.root, summary_lines(summary))
        if request is not None:
            for notice in tell_trackers(request, folder, run_id, summary):
                say_warning(notice)
    return summary


def describe_graph(pipeline: Any) -> list[str]:
    """Returns one line a node, in order: name, inputs with their producers, outputs."""
    lines = []
    for node in pipeline.components:
        inputs = [
            f"{key} <- {', '.join(sorted(_producers(channel))) or 'earlier runs'}"
            for key, channel in getattr(node, "raw_inputs", node.inputs).items()
        ]
        outputs = ", ".join(node.outputs)
        lines.append(f"{node.id:18} {', '.join(inputs) or '-'}  ->  {outputs}")
    return lines


def _producers(channel: Any) -> set[str]:
    """Returns the names of the nodes that a channel comes from."""
    return {name for name in channel.get_data_dependent_node_ids() if name}


def _graph(config: Config, data_dir: Place, folder: RunFolder, use_cache: bool) -> Any:
    from pipeline.pipeline import Places, create_pipeline

    places = Places(
        data_dir=str(data_dir if is_address(data_dir) else Path(data_dir).resolve()),
        pictures_digest=pictures_digest(config.data, data_dir),
        weights_digest=weights_digest(config.model.weights),
        pipeline_root=str(folder.artifacts),
        checkpoints=str(folder.checkpoints),
        detections=str(folder.detections),
        push_folder=str(_push_folder(config, folder)),
        schema_file=str(_schema_copy(folder)),
        metadata=str(folder.metadata),
    )
    return create_pipeline(config, places, enable_cache=use_cache)


def _push_folder(config: Config, folder: RunFolder) -> Path:
    return Path(config.push.folder or folder.serving).resolve()


def _record_versions(folder: RunFolder, config: Config) -> None:
    """Tells MLMD of versions that are served and that no run of this root pushed."""
    from pipeline.local.versions_record import record_versions

    try:
        record_versions(folder.metadata, _push_folder(config, folder), config.name)
    except ModelError as error:  # what is served cannot be read: the gate's own finding
        logging.warning("%s", error)


def _schema_copy(folder: RunFolder) -> Path:
    """Returns a copy of the schema named by its digest: TFX's cache knows the path alone."""
    copy = folder.schemas / f"{file_digest(_SCHEMA_FILE)[:12]}.pbtxt"
    if not copy.exists():
        with atomic_path(copy) as partial:
            shutil.copyfile(_SCHEMA_FILE, partial)
    return copy


def _partial_run(from_node: str | None, to_node: str | None) -> Any:
    """Returns TFX's options for a part of the graph, None for all of it.

    The Resolver always runs with the evaluator: left out, TFX would take the baseline that the
    last run found, which may not be the newest any more.
    """
    from tfx.orchestration.pipeline import RunOptions

    if from_node is None and to_node is None:
        return None
    from_nodes = [from_node] if from_node else None
    if from_nodes and from_node not in ("Resolver", "ModelPusher"):
        from_nodes.append("Resolver")
    return RunOptions(from_nodes=from_nodes, to_nodes=[to_node] if to_node else None)


def _run_graph(pipeline: Any, folder: RunFolder, run_options: Any) -> tuple[list[NodeRun], str]:
    """Runs the graph; returns what happened to each node, and the run's id in MLMD."""
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    from components.beam_workers import start_safely

    start_safely()
    with _watched_nodes(folder.log) as watched, own_lines_shown():
        try:
            LocalDagRunner().run(pipeline, run_options=run_options)
        except LookupError as error:
            if run_options is None:
                raise
            raise RcnnError(
                f"{folder.root}: no earlier run here to take the other nodes' results from: "
                "run once without --from"
            ) from error
    return watched.runs, watched.run_id


@dataclasses.dataclass
class _Watched:
    runs: list[NodeRun] = dataclasses.field(default_factory=list)
    run_id: str = ""


class _Interrupted(Exception):
    """Ctrl-C, or SIGTERM, in an executor: TFX notes an execution as failed by exceptions alone."""


@contextlib.contextmanager
def _watched_nodes(log: Path) -> Iterator[_Watched]:
    """Times each node's launch, prints its line, and names it in what it raises.

    LocalDagRunner has no hook for this, so its launcher's `launch` is wrapped meanwhile.

    Raises:
        TrainingStopped: the training was asked to stop.
        ComponentError: a component failed.
    """
    from tfx.orchestration.portable.launcher import Launcher

    watched = _Watched()
    launch, run_executor = Launcher.launch, Launcher._run_executor

    def run_noted_executor(launcher: Any, execution: Any) -> Any:
        try:
            return run_executor(launcher, execution)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted from interrupt

    def timed_launch(launcher: Any) -> Any:
        node = launcher._pipeline_node.node_info.id
        watched.run_id = launcher._pipeline_runtime_spec.pipeline_run_id.field_value.string_value
        show_meanwhile(f"{node:18} ...")
        start = time.monotonic()
        try:
            information = launch(launcher)
            outcome = _outcome(launcher, information)
        except (TrainingStopped, _Interrupted) as stop:
            seconds = time.monotonic() - start
            show(
                f"{node:18} stopped after {seconds:.1f} s",
                "node",
                node=node,
                seconds=seconds,
                outcome="stopped",
            )
            raise (stop.__cause__ or stop) from None
        except Exception as error:
            seconds = time.monotonic() - start
            show(
                f"{node:18} failed after {seconds:.1f} s",
                "node",
                node=node,
                seconds=seconds,
                outcome="failed",
            )
            raise component_error(node, error, log) from error
        run = NodeRun(node, time.monotonic() - start, outcome)
        watched.runs.append(run)
        line = f"{run.node:18} {run.seconds:7.1f} s  {run.outcome}"
        show(line, "node", **dataclasses.asdict(run))
        return information

    Launcher.launch, Launcher._run_executor = timed_launch, run_noted_executor
    try:
        yield watched
    finally:
        Launcher.launch, Launcher._run_executor = launch, run_executor


def _outcome(launcher: Any, information: Any) -> str:
    """Returns "ran", "cached" or "resolved", from the state that MLMD has for the execution.

    Raises:
        RcnnError: the launcher gave up without raising (an input could not be found).
    """
    from ml_metadata.proto.metadata_store_pb2 import Execution

    if launcher._system_node_handler is not None:
        return "resolved"
    if information is None or information.execution_id is None:
        raise RcnnError("its inputs are not there")
    with launcher._mlmd_connection as metadata:
        [execution] = metadata.store.get_executions_by_id([information.execution_id])
    if execution.last_known_state == Execution.CACHED:
        return "cached"
    if execution.last_known_state == Execution.COMPLETE:
        return "ran"
    raise RcnnError("its inputs are not there")


_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Exit)): (.+)$", re.MULTILINE)
_FULL = re.compile(r"No space left on device: '([^']+)'")
_BEAM_STEP = re.compile(r" \[while running '.*?'\]")


def component_error(node: str, error: BaseException, log: Path) -> ComponentError:
    """Returns the one line for what a component raised, dug out of Beam's and TFX's wrapping."""
    text = str(error)
    if "No space left on device" in text or "disk is full" in text:
        path = _FULL.search(text)
        return ComponentError(
            f"{node}: no space left on the disk of {path[1] if path else log.parent.parent}: "
            "free some space, then run the same again; what is done stays done"
        )
    if not isinstance(error, RcnnError):
        # Beam hands on a worker's error as the text of its traceback; the last line is it.
        raised = _RAISED.findall(text)
        if raised:
            name, message = raised[-1]
            own = name in _own_error_names()
            text = message if own else f"{name}: {message}"
        else:
            text = explain(error)
    text = " ".join(_BEAM_STEP.sub("", text).split())
    return ComponentError(f"{node}: {text} (log: {log})")


def _own_error_names() -> set[str]:
    from ground import errors

    return {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, RcnnError)
    }
