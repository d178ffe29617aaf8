"""Schedules: KFP's recurring runs. One of a name, though KFP would keep any number of them."""

from dataclasses import dataclass
from typing import Any

from ground.errors import ConfigError
from pipeline.kubeflow.api.answers import checked_id
from pipeline.kubeflow.api.runs import Request
from pipeline.kubeflow.api.service import Message, Service, named, path_of

# What two equal schedules have in common; the rest is the service's.
_OWN_KEYS = (
    "experiment_id",
    "max_concurrency",
    "no_catchup",
    "pipeline_spec",
    "pipeline_version_reference",
    "runtime_config",
    "trigger",
)


@dataclass(frozen=True)
class Scheduled:
    """A schedule as it is now; `what` became of it: created, replaced, enabled or kept."""

    schedule_id: str
    what: str


def schedule(
    service: Service, request: Request, name: str, trigger: Message, is_replaced: bool = False
) -> Scheduled:
    """Makes a schedule, unless the same is there.

    What is missed while the cluster is away is not made up for, and one run at a time is at work:
    two of them would push one after the other.

    Args:
        service: where.
        request: each run.
        name: name of the schedule.
        trigger: see `trigger_of`.
        is_replaced: whether one of that name and with other settings is replaced; it goes on until
            the new one is there.

    Raises:
        ConfigError: one with other settings is there; or a parameter is not as it should be.
        ServiceError: the service refused, failed or could not be reached.
    """
    if not name.strip():
        raise ConfigError("--schedule: is empty")
    wanted: Message = {
        "display_name": name,
        "max_concurrency": "1",  # 64 bits, which JSON has as text
        "no_catchup": True,
        "trigger": trigger,
        **request.message(service),
    }
    there = find_schedules(service, name)
    same = [found for found in there if _is_same(found, wanted)]
    others = [found for found in there if found not in same[:1]]
    if others and not is_replaced:
        raise ConfigError(
            f"{service.host}: there is a schedule {name!r} with other settings "
            f"({describe(others[0])}): --replace puts this one in its place"
        )
    if same:
        schedule_id = _id(service, same[0])
    else:
        mode = "DISABLE" if others else "ENABLE"  # never two that start runs
        schedule_id = _create(service, {**wanted, "mode": mode}, others)
    for other in others:
        service.delete(path_of("recurringruns", _id(service, other)))
    is_off = bool(others) if not same else same[0].get("status") == "DISABLED"
    if is_off:
        service.act(path_of("recurringruns", f"{schedule_id}:enable"))
    if not same:
        return Scheduled(schedule_id, "replaced" if others else "created")
    return Scheduled(schedule_id, "enabled" if is_off else "kept")


def _create(service: Service, wanted: Message, others: list[Message]) -> str:
    before = {found.get("recurring_run_id") for found in others}

    def find() -> Message | None:
        for found in find_schedules(service, wanted["display_name"]):
            if found.get("recurring_run_id") not in before and _is_same(found, wanted):
                return found
        return None

    return _id(service, service.create("recurringruns", find, wanted))


def _id(service: Service, found: Message) -> str:
    return checked_id(service.host, "schedule", found.get("recurring_run_id"))


def trigger_of(cron: str | None, seconds: int | None) -> Message:
    """Returns the message of a cron expression (six fields) or an interval."""
    if cron is not None:
        return {"cron_schedule": {"cron": cron}}
    return {"periodic_schedule": {"interval_second": str(seconds)}}


def find_schedules(service: Service, name: str | None = None) -> list[Message]:
    """Returns the schedules of a name, or all.

    Raises:
        ServiceError: the service refused, failed or could not be reached.
    """
    query = {"namespace": service.namespace()}
    if name is not None:
        query["filter"] = named(name)
    listed = list(service.listed("recurringruns", "recurringRuns", **query))
    return [found for found in listed if name is None or found.get("display_name") == name]


def _is_same(found: Message, wanted: Message) -> bool:
    """Returns whether a schedule does what another shall do."""
    if wanted.get("service_account", found.get("service_account")) != found.get("service_account"):
        return False
    return all(_plain(found.get(key)) == _plain(wanted.get(key)) for key in _OWN_KEYS)


def _plain(value: Any) -> Any:
    """Returns a value such that equal ones are equal: without what JSON leaves out or adds."""
    if isinstance(value, dict):
        plain = {key: _plain(inner) for key, inner in value.items()}
        return {key: inner for key, inner in plain.items() if inner not in (None, "", {}, False)}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return None if value in ("", False) else value


def describe(found: Message) -> str:
    """Returns when a schedule starts runs."""
    trigger = found.get("trigger") or {}
    cron = (trigger.get("cron_schedule") or {}).get("cron")
    seconds = (trigger.get("periodic_schedule") or {}).get("interval_second")
    when = f"cron {cron}" if cron else f"every {seconds} s"
    return when + (", off" if found.get("status") == "DISABLED" else "")
