"""Rows about a machine, from made-up machines."""

import errno
import resource
from pathlib import Path

import pytest

from model.limits import Limits
from pipeline.doctor import system
from pipeline.doctor.examination import run_checks
from pipeline.doctor.system import (
    GIB,
    cluster_row,
    disk_row,
    glibc_row,
    lane_row,
    limits_row,
    memory_row,
    ports_row,
    processor_row,
    pythons_row,
    shared_memory_row,
    system_checks,
)

FREE = {"cores": False, "memory": False}
BIG = Limits(16, 16, 64 * GIB, 48 * GIB, FREE)


@pytest.mark.parametrize(
    ("said", "status", "found"),
    [
        ("legacy: glibc 2.36 is older than 2.39", "ok", "(glibc 2.36 is older than 2.39)"),
        ("modern: glibc 2.41", "warning", "set-up takes modern here (glibc 2.41)"),
        ("", "ok", "legacy: Python"),
    ],
)
def test_the_lane_is_compared_with_what_setup_takes(monkeypatch, said, status, found) -> None:
    monkeypatch.setattr(system, "LANE", "legacy")
    monkeypatch.setattr(system.sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(system, "_said_by", lambda arguments: said)
    row = lane_row()
    assert row.status == status and found in row.found
    assert row.mend == ("make setup" if status != "ok" else "")


def test_a_python_of_no_lane_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(system.sys, "version_info", (3, 14, 0))
    assert lane_row().status == "error"


def test_pythons_that_do_not_run_are_told(tmp_path, monkeypatch) -> None:
    for name, text in (("python3.12", "echo 12"), ("python3.13", "exit 127")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path
    assert pythons_row().found == (
        f"3.12 {folder}/python3.12; set-up passes over what does not run: 3.13 {folder}/python3.13"
    )


@pytest.mark.parametrize(
    ("libc", "status"), [(("glibc", "2.36"), "ok"), (("", ""), "error"), (("musl", "1"), "error")]
)
def test_another_c_library_is_an_error(monkeypatch, libc, status) -> None:
    monkeypatch.setattr(system.platform, "libc_ver", lambda: libc)
    assert glibc_row().status == status


@pytest.mark.parametrize(
    ("cores", "shown", "cpuinfo", "status", "found"),
    [
        (16, 16, "flags\t: fpu avx avx2", "ok", "16 cores, AVX2"),
        (1, 64, "flags\t: fpu avx", "ok", "1 core by the container's limit, of 64, AVX"),
        (2, 2, "flags\t: fpu sse4_2", "error", "2 cores, without AVX, which TensorFlow needs"),
        (2, 2, "", "ok", "2 cores"),
    ],
)
def test_a_processor_without_avx_is_an_error(cores, shown, cpuinfo, status, found) -> None:
    row = processor_row(Limits(cores, shown, 0, 0, FREE), cpuinfo)
    assert row.status == status and row.found.startswith(found)


@pytest.mark.parametrize(
    ("limits", "status", "found"),
    [
        (BIG, "ok", "64.0 GiB of the machine, 48.0 free"),
        (BIG._replace(free_bytes=4 * GIB), "warning", "4.0 free"),
        (Limits(1, 1, 2 * GIB, 2 * GIB, {"memory": True}), "error", "2.0 GiB by the container's"),
    ],
)
def test_little_memory_is_told(limits, status, found) -> None:
    row = memory_row(limits)
    assert row.status == status and found in row.found and bool(row.mend) is (status != "ok")


@pytest.mark.parametrize(
    ("free", "status"), [(20 * GIB, "ok"), (5 * GIB, "warning"), (GIB // 2, "error")]
)
def test_a_full_disk_is_told(tmp_path, monkeypatch, free, status) -> None:
    usage = system.shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(system.shutil, "disk_usage", lambda folder: usage)
    row = disk_row("disk", tmp_path / "not" / "there")
    assert row.status == status and row.found.startswith(f"{tmp_path}: ")


def test_a_folder_without_the_right_to_write_is_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(system.os, "access", lambda path, mode: False)
    assert disk_row("disk", tmp_path).status == "error"


@pytest.mark.parametrize("function", ["pathlib.Path.stat", "shutil.disk_usage"])
def test_a_folder_that_cannot_be_looked_at_is_an_error(tmp_path, monkeypatch, function) -> None:
    closed = tmp_path / "closed" / "runs"

    def refuse(path: object, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(function, refuse)
    row = disk_row("disk", closed)
    monkeypatch.undo()
    assert row.status == "error" and row.found.startswith(str(tmp_path))
    assert row.found.endswith(": Permission denied") and "--root" in row.mend


def test_a_check_that_fails_hides_no_other(tmp_path, monkeypatch) -> None:
    def fail(*arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(system, "lane_row", fail)
    monkeypatch.setattr(system, "machine_limits", fail)
    found = run_checks(system_checks(tmp_path, {}))
    assert [row.check for row in found] == [
        "doctor", "pythons", "C library", "doctor", "doctor", "disk", "temporary files", "limits",
        "ports", "hosts",
    ]  # fmt: skip


def test_little_shared_memory_matters_to_several_gpus(monkeypatch) -> None:
    usage = system.shutil.disk_usage("/")._replace(total=64 << 20)
    monkeypatch.setattr(system.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(Path, "is_dir", lambda path: True)
    assert shared_memory_row(1).status == "ok"
    assert "--shm-size" in shared_memory_row(2).mend


@pytest.mark.parametrize(
    ("limits", "mend"),
    [
        ({}, ""),
        ({resource.RLIMIT_NOFILE: (256, 2048)}, "ulimit -n 2048"),
        ({resource.RLIMIT_NOFILE: (256, 1 << 20)}, "ulimit -n 4096"),
        ({resource.RLIMIT_AS: (4 * GIB, 4 * GIB)}, "ulimit -v unlimited"),
        ({resource.RLIMIT_FSIZE: (GIB, GIB)}, "ulimit -f unlimited"),
    ],
)
def test_low_limits_are_told(monkeypatch, limits, mend) -> None:
    usual = {resource.RLIMIT_NOFILE: (4096, 4096)}
    free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: {**usual, **limits}.get(kind, free))
    assert limits_row().mend == mend


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, "ok"),
        ({"http_proxy": "http://proxy:3128"}, "warning"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.org"}, "warning"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "localhost,127.0.0.1"}, "ok"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "*"}, "ok"),
    ],
)
def test_a_proxy_between_us_and_ourselves_is_told(environ, status) -> None:
    assert ports_row(environ).status == status


def test_a_machine_without_loopback_is_an_error(monkeypatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(system.socket, "create_server", refuse)
    assert ports_row({}).status == "error"


@pytest.mark.parametrize(
    ("environ", "status", "found"),
    [
        ({}, "ok", "this one alone"),
        ({"TFX_RCNN_HOSTS": "a,b", "TFX_RCNN_HOST_INDEX": "1"}, "ok", "number 1 of a:2222, b:2222"),
        ({"TF_CONFIG": "{"}, "error", "TF_CONFIG"),
    ],
)
def test_the_hosts_that_the_environment_names_are_told(environ, status, found) -> None:
    row = cluster_row(environ)
    assert row.status == status and found in row.found
