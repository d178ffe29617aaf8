"""What a host gives its workers: places, GPUs, ports, threads."""

import json
import socket

import pytest

from ground.errors import ConfigError, TrainingError
from model.launch import host
from model.launch.cluster import Cluster
from model.launch.host import (
    check_workers,
    hold_ports,
    threads_per_worker,
    visible_gpus,
    with_counted_workers,
    with_input_threads,
    worker_environments,
)
from model.limits import Limits
from tests.model.training.tiny_run import tiny_config

NO_GPUS = {"CUDA_VISIBLE_DEVICES": ""}
TWO_GPUS = {"CUDA_VISIBLE_DEVICES": "4,7"}
SECOND_OF_TWO = Cluster(("a:2222", "b:2222"), 1, "SM_HOSTS")


def changed(config, **train):
    return config.model_copy(update={"train": config.train.model_copy(update=train)})


def test_each_worker_gets_its_place_in_one_cluster():
    given = worker_environments(3, Cluster(), NO_GPUS, ports=[7, 8, 9])
    settings = [json.loads(e["TF_CONFIG"]) for e in given.values()]
    assert [s["task"] for s in settings] == [{"type": "worker", "index": i} for i in range(3)]
    assert len({json.dumps(s["cluster"]) for s in settings}) == 1
    assert len(set(settings[0]["cluster"]["worker"])) == 3


def test_one_worker_needs_no_cluster():
    assert worker_environments(1, Cluster(), NO_GPUS) == {0: {}}


def test_each_worker_gets_one_gpu():
    given = [
        e["CUDA_VISIBLE_DEVICES"]
        for e in worker_environments(2, Cluster(), TWO_GPUS, ports=[7, 8]).values()
    ]
    assert given == ["4", "7"]


def test_hosts_run_a_worker_a_gpu():
    given = worker_environments(4, SECOND_OF_TWO, TWO_GPUS)
    assert list(given) == [2, 3]
    addresses = ["a:2222", "a:2223", "b:2222", "b:2223"]
    assert json.loads(given[3]["TF_CONFIG"]) == {
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": 3},
    }
    assert [e["CUDA_VISIBLE_DEVICES"] for e in given.values()] == ["4", "7"]


@pytest.mark.parametrize(
    ("workers", "cluster", "message"),
    [
        (3, Cluster(), "asks for 3 workers, but there are 2 GPUs"),
        (6, SECOND_OF_TWO, "asks for 6 workers, 3 of them on this host, but there are 2 GPUs"),
        (3, SECOND_OF_TWO, "asks for 3 workers, but SM_HOSTS names 2 hosts"),
        (1, SECOND_OF_TWO, "asks for 1 workers, but SM_HOSTS names 2 hosts"),
    ],
)
def test_workers_that_the_hosts_cannot_run_are_refused(workers, cluster, message):
    with pytest.raises(ConfigError, match=message):
        worker_environments(workers, cluster, TWO_GPUS)


@pytest.mark.parametrize(
    ("cluster", "environ", "batch"),
    [
        (Cluster(), TWO_GPUS, "2x4"),
        (Cluster(), NO_GPUS, "1x4"),
        (SECOND_OF_TWO, TWO_GPUS, "4x4"),
        (SECOND_OF_TWO, NO_GPUS, "2x4"),
    ],
)
def test_auto_counts_the_gpus_of_all_hosts(cluster, environ, batch):
    assert with_counted_workers(tiny_config("autox4"), cluster, environ).train.batch == batch
    assert with_counted_workers(tiny_config("6x4"), cluster, environ).train.batch == "6x4"


@pytest.mark.parametrize(
    ("batch", "cluster", "environ", "folded"),
    [
        ("8x4", Cluster(), TWO_GPUS, ("2x4", 4)),
        ("2x4", Cluster(), {"CUDA_VISIBLE_DEVICES": "0"}, ("1x4", 2)),
        ("3x4", Cluster(), TWO_GPUS, ("1x4", 3)),  # two would not share three evenly
        ("2x4", Cluster(), TWO_GPUS, ("2x4", 1)),
        ("8x4", SECOND_OF_TWO, TWO_GPUS, ("4x4", 2)),
        ("8x4", Cluster(), NO_GPUS, ("8x4", 1)),
    ],
)
def test_fewer_gpus_do_the_same_steps_in_parts(batch, cluster, environ, folded):
    config = changed(tiny_config(batch), fewer_gpus="accumulate")
    train = with_counted_workers(config, cluster, environ).train
    assert (train.batch, train.accumulate) == folded
    assert train.global_batch == config.train.global_batch
    check_workers(config, cluster, environ)


def test_parts_are_refused_where_they_would_be_other_steps():
    config = changed(tiny_config("4x4"), fewer_gpus="accumulate")
    fpn = config.model.fpn.model_copy(update={"norm": "sync_batch_norm"})
    model = config.model.model_copy(update={"fpn": fpn})
    with pytest.raises(ConfigError, match=r"4 workers, but there are 2 GPUs, .* model\.fpn\.norm"):
        check_workers(config.model_copy(update={"model": model}), Cluster(), TWO_GPUS)
    with pytest.raises(ConfigError, match="4 workers, but there is 1 GPU; "):
        check_workers(tiny_config("4x4"), Cluster(), {"CUDA_VISIBLE_DEVICES": "1"})


def test_gpus_that_the_environment_counts_otherwise_are_refused():
    cluster = Cluster(SECOND_OF_TWO.hosts, 1, "SM_HOSTS", gpus=8)
    with pytest.raises(ConfigError, match=r"SM_NUM_GPUS is 8, but this host shows 2 GPUs .*4,7"):
        with_counted_workers(tiny_config(), cluster, TWO_GPUS)


def test_a_given_port_in_use_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        cluster = Cluster(("10.0.0.1:1", f"127.0.0.1:{port - 1}"), 1, "TFX_RCNN_HOSTS")
        with pytest.raises(
            TrainingError, match=f"port {port}, which TFX_RCNN_HOSTS gives worker 3"
        ):
            hold_ports(4, cluster)
    assert len(closed(hold_ports(4, cluster))) == 2


@pytest.mark.parametrize(
    ("value", "gpus"), [("", []), ("-1", []), ("0, 2", ["0", "2"]), ("1,-1,0", ["1"])]
)
def test_named_gpus_are_the_visible_ones(value, gpus):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": value}) == gpus


@pytest.mark.parametrize("has_driver_folder", [True, False])
def test_without_a_name_all_gpus_are_visible(tmp_path, monkeypatch, has_driver_folder):
    driver, devices = tmp_path / "gpus", tmp_path / "dev"
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (devices / name).mkdir(parents=True)
    if has_driver_folder:
        (driver / "0000:00:1e.0").mkdir(parents=True)
    monkeypatch.setattr(host, "_NVIDIA_DRIVER", driver)
    monkeypatch.setattr(host, "_DEVICES", devices)
    assert visible_gpus({}) == (["0"] if has_driver_folder else ["0", "2", "10"])


@pytest.mark.parametrize(
    ("workers", "cores", "shown", "threads", "input_threads"),
    [(1, 8, 8, 0, 0), (1, 4, 8, 4, 4), (2, 8, 8, 4, 0), (2, 5, 64, 2, 2), (8, 2, 2, 1, 0)],
)
def test_workers_share_the_cores_of_the_container(workers, cores, shown, threads, input_threads):
    limits = Limits(cores, shown, 0, 0, {})
    assert threads_per_worker(workers, limits) == threads
    config = with_input_threads(tiny_config(), workers, limits)
    assert config.train.input_threads == input_threads


def test_input_threads_that_are_given_stay():
    config = tiny_config()
    train = config.train.model_copy(update={"input_threads": 7})
    config = config.model_copy(update={"train": train})
    assert with_input_threads(config, 2, Limits(4, 64, 0, 0, {})) is config


@pytest.mark.parametrize(("numa", "bound"), [("auto", ["0-1", "2-3"]), ("off", [None, None])])
def test_workers_of_two_sockets_are_bound(monkeypatch, numa, bound):
    two = [frozenset([0, 1]), frozenset([2, 3])]
    monkeypatch.setattr(host, "worker_cores", lambda workers, gpus, buses: two[:workers])
    given = worker_environments(2, Cluster(), TWO_GPUS, numa, [7, 8])
    assert [variables.get("TFX_RCNN_CORES") for variables in given.values()] == bound


def closed(sockets):
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_one_worker_needs_no_port():
    assert hold_ports(1, Cluster()) == []


def test_a_held_port_is_for_its_worker_alone():
    held = hold_ports(5, Cluster())
    ports = [one.getsockname()[1] for one in held]
    assert len(set(ports)) == 5
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", ports[0]))
    with socket.create_server(("0.0.0.0", ports[0])) as server:  # as TensorFlow binds it
        with socket.create_connection(("127.0.0.1", ports[0]), timeout=10):
            server.accept()[0].close()
    closed(held)
