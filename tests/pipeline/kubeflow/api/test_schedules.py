"""Schedules: one of a name, also where a connection breaks."""

from pathlib import Path

import pytest

from ground.errors import ConfigError, ServiceError
from pipeline.kubeflow.api.pipelines import upload
from pipeline.kubeflow.api.runs import Request
from pipeline.kubeflow.api.schedules import schedule, trigger_of
from pipeline.kubeflow.api.service import Service
from tests.pipeline.kubeflow.api.server import KfpServer, Trouble

NIGHTLY = trigger_of("0 0 3 * * *", None)
HOURLY = trigger_of(None, 3600)


@pytest.fixture
def request_(service: Service, pipeline_file: Path) -> Request:
    return Request(upload(service, pipeline_file, "detector"), parameters={"epochs": "3"})


def test_a_schedule_starts_one_run_at_a_time_and_none_for_what_was_missed(
    server: KfpServer, service: Service, request_: Request
) -> None:
    made = schedule(service, request_, "nightly", NIGHTLY)
    [stored] = server.state.stored["recurringruns"]
    assert (made.schedule_id, made.what) == (stored["recurring_run_id"], "created")
    assert stored["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (stored["max_concurrency"], stored["no_catchup"]) == ("1", True)
    assert (stored["mode"], stored["status"]) == ("ENABLE", "ENABLED")
    assert stored["runtime_config"] == {"parameters": {"epochs": 3}}
    schedule(service, request_, "hourly", HOURLY)
    assert server.state.stored["recurringruns"][1]["trigger"] == {
        "periodic_schedule": {"interval_second": "3600"}
    }


def test_the_same_schedule_is_kept(server: KfpServer, service: Service, request_: Request) -> None:
    made = schedule(service, request_, "nightly", NIGHTLY)
    # As the gateway tells it: 64 bits as text, what is empty left out.
    [stored] = server.state.stored["recurringruns"]
    stored["updated_at"] = "2026-01-02T03:04:05Z"
    again = schedule(service, request_, "nightly", NIGHTLY)
    assert (again.schedule_id, again.what) == (made.schedule_id, "kept")
    stored["status"] = "DISABLED"
    assert schedule(service, request_, "nightly", NIGHTLY).what == "enabled"
    assert stored["status"] == "ENABLED"
    assert server.state.count("POST", "recurringruns") == 1


def test_another_schedule_of_the_name_is_refused_or_replaced(
    server: KfpServer, service: Service, request_: Request
) -> None:
    made = schedule(service, request_, "nightly", NIGHTLY)
    with pytest.raises(ConfigError, match=r"with other settings \(cron 0 0 3.*--replace"):
        schedule(service, request_, "nightly", HOURLY)
    assert len(server.state.stored["recurringruns"]) == 1
    new = schedule(service, request_, "nightly", HOURLY, is_replaced=True)
    assert (new.what, new.schedule_id != made.schedule_id) == ("replaced", True)
    [stored] = server.state.stored["recurringruns"]
    assert stored["status"] == "ENABLED" and "periodic_schedule" in stored["trigger"]


@pytest.mark.parametrize("path", ["recurringruns", "recurringruns/.*:enable"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_replacement_that_breaks_off_is_never_two_and_can_be_repeated(
    server: KfpServer, service: Service, request_: Request, path: str, method: str
) -> None:
    schedule(service, request_, "nightly", NIGHTLY)
    where = path if method == "POST" else "recurringruns/.*"
    server.state.troubles = [Trouble(500, method, where, times=4)]
    with pytest.raises(ServiceError, match="500"):
        schedule(service, request_, "nightly", HOURLY, is_replaced=True)
    on = [one for one in server.state.stored["recurringruns"] if one["status"] == "ENABLED"]
    assert len(on) <= 1
    server.state.troubles = []
    schedule(service, request_, "nightly", HOURLY, is_replaced=True)
    [stored] = server.state.stored["recurringruns"]
    assert stored["status"] == "ENABLED" and "periodic_schedule" in stored["trigger"]


@pytest.mark.parametrize("what", ["lose", "drop", 503])
def test_a_lost_answer_makes_no_second_schedule(
    server: KfpServer, service: Service, request_: Request, what: str | int
) -> None:
    server.state.troubles = [Trouble(what, "POST", "recurringruns")]
    made = schedule(service, request_, "nightly", NIGHTLY)
    [stored] = server.state.stored["recurringruns"]
    assert stored["recurring_run_id"] == made.schedule_id
