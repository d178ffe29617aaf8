"""Runs: what starts one, and the list of them."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice

from ground.errors import ConfigError
from pipeline.kubeflow.api.answers import Refusal, checked_id
from pipeline.kubeflow.api.pipelines import Version, check_uploaded
from pipeline.kubeflow.api.service import Message, Service, named, path_of
from pipeline.kubeflow.checks import check_root
from pipeline.kubeflow.player.compiled import Compiled, run_parameters

DEFAULT_EXPERIMENT = "Default"  # KFP's own name of it
_NO_TIME = "1970"  # how KFP says that something has not happened yet


@dataclass(frozen=True)
class Request:
    """What a run, or each run of a schedule, shall be.

    Attributes:
        version: version of the pipeline.
        experiment: that it belongs to; made where there is none.
        parameters: text by name; a list as JSON.
        pipeline_root: address below which outputs are stored; None for the compiled one.
        use_cache: False runs every task, whatever is known.
        service_account: account of the pods; None for Kubeflow's own.
    """

    version: Version
    experiment: str = DEFAULT_EXPERIMENT
    parameters: Mapping[str, str] = field(default_factory=dict)
    pipeline_root: str | None = None
    use_cache: bool = True
    service_account: str | None = None

    def message(self, service: Service) -> Message:
        """Returns what runs and schedules have in common.

        Raises:
            ConfigError: a parameter is unknown, missing or of another type; the root is none.
            ServiceError: the service's version holds no pipeline; the experiment cannot be made.
        """
        check_uploaded(service, self.version)
        parameters = check_request(self.version.spec, self.parameters, self.pipeline_root)
        config = {"parameters": parameters, "pipeline_root": self.pipeline_root}
        source: Message = {
            "pipeline_version_reference": {
                "pipeline_id": self.version.pipeline_id,
                "pipeline_version_id": self.version.version_id,
            }
        }
        if not self.use_cache:  # a part of the pipeline, not of a run
            source = {"pipeline_spec": _without_cache(self.version)}
        return {
            **source,
            "experiment_id": experiment_id(service, self.experiment),
            "runtime_config": {name: value for name, value in config.items() if value},
            **({"service_account": self.service_account} if self.service_account else {}),
        }


def check_request(spec: Message, given: Mapping[str, str], pipeline_root: str | None) -> Message:
    """Returns the typed values of the parameters that are given.

    Raises:
        ConfigError: one is unknown, missing or of another type; the root is none.
    """
    if pipeline_root:
        check_root(pipeline_root)
    inputs = spec["root"].get("inputDefinitions") or {}
    values = run_parameters(Compiled("", "", [], inputs.get("parameters") or {}), given)
    return {name: values[name] for name in given}


def _without_cache(version: Version) -> Message:
    spec = version.spec
    dag = spec["root"]["dag"]
    tasks = {
        key: {**task, "cachingOptions": {"enableCache": False}}
        for key, task in dag["tasks"].items()
    }
    changed = {**spec, "root": {**spec["root"], "dag": {**dag, "tasks": tasks}}}
    if "pipeline_spec" in version.message:
        return {**version.message, "pipeline_spec": changed}
    return changed


def experiment_id(service: Service, name: str, is_made: bool = True) -> str:
    """Returns the id of an experiment; of a new one, where there is none of that name.

    Raises:
        ConfigError: there is none, and none shall be made.
        ServiceError: the service refused, failed or could not be reached.
    """
    namespace = service.namespace()

    def find() -> Message | None:
        for found in service.listed(
            "experiments", "experiments", namespace=namespace, filter=named(name)
        ):
            if found.get("display_name") == name:
                return found
        return None

    if not name.strip():
        raise ConfigError("--experiment: is empty")
    experiment = find()
    if experiment is None and not is_made:
        raise ConfigError(f"{service.host}: no experiment {name!r}")
    if experiment is None:
        body = {"display_name": name, **({"namespace": namespace} if namespace else {})}
        experiment = service.create("experiments", find, body)
    return checked_id(service.host, "experiment", experiment.get("experiment_id"))


def start_run(service: Service, request: Request, name: str | None = None) -> str:
    """Starts a run, once, and returns its id.

    Args:
        service: where.
        request: what.
        name: that people see; None for the pipeline's, with the time.

    Raises:
        ConfigError: a parameter is unknown, missing or of another type.
        ServiceError: the service refused, failed or could not be reached.
    """
    body = request.message(service)
    pipeline = request.version.spec.get("pipelineInfo", {}).get("name", "run")
    shown = name or f"{pipeline} {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S}"
    # By this a run is known as the one that was sent, if no answer came.
    mark = f"submitted as {uuid.uuid4()}"

    def find() -> Message | None:
        listed = service.listed(
            "runs", "runs", experiment_id=body["experiment_id"], filter=named(shown)
        )
        return next((run for run in listed if run.get("description") == mark), None)

    run = service.create("runs", find, {"display_name": shown, "description": mark, **body})
    return checked_id(service.host, "run", run.get("run_id"))


def list_runs(service: Service, experiment: str | None, limit: int) -> list[Message]:
    """Returns the newest runs, the newest first.

    Raises:
        ConfigError: there is no such experiment.
        ServiceError: the service refused, failed or could not be reached.
    """
    query = {"namespace": service.namespace()}
    if experiment is not None:
        query = {"experiment_id": experiment_id(service, experiment, is_made=False)}
    return list(islice(service.listed("runs", "runs", sort_by="created_at desc", **query), limit))


def terminate_run(service: Service, run_id: str) -> str:
    """Ends a run, unless it has ended; returns its state.

    Raises:
        ServiceError: the service refused, failed or could not be reached.
    """
    path = path_of("runs", run_id)
    if has_ended(run := service.get(path)):
        return state_of(run)
    try:
        service.act(f"{path}:terminate")
    except Refusal:  # it may have ended meanwhile
        if not has_ended(run := service.get(path)):
            raise
        return state_of(run)
    return "CANCELING"


def state_of(message: Message) -> str:
    """Returns the state of a run or a task; PENDING where it has none yet."""
    state = str(message.get("state") or "")
    return "PENDING" if state in ("", "RUNTIME_STATE_UNSPECIFIED") else state


def has_ended(run: Message) -> bool:
    """Returns whether a run is over; KFP can leave one that was cancelled at CANCELING."""
    state = state_of(run)
    if state in ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"):
        return True
    return state == "CANCELING" and time_of(run, "finished_at") is not None


def time_of(message: Message, key: str) -> datetime | None:
    """Returns a time; None where it has not come."""
    text = str(message.get(key) or _NO_TIME)
    if text.startswith(_NO_TIME):
        return None
    try:
        # Up to nanoseconds, of which Python 3.10 reads none.
        moment = text.rstrip("Z").partition(".")[0].partition("+")[0]
        return datetime.fromisoformat(moment).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def seconds_between(message: Message, start: str, end: str) -> float | None:
    """Returns how long something takes or took; None where it has not begun."""
    begin = time_of(message, start)
    if begin is None:
        return None
    finish = time_of(message, end) or datetime.now(timezone.utc)
    return max(0.0, (finish - begin).total_seconds())
