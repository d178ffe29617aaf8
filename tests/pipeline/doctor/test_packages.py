"""What is installed against made-up locks, and against our own."""

import sys

import pytest

from pipeline.doctor.packages import has_pipeline, packages_rows, read_lock

LOCK = "# The legacy lane.\nPillow==10.1\ntfx==1.16\nzope.interface==6\n"
HAVE = {"pillow": "10.1", "tfx": "1.16", "zope-interface": "6", "more": "1"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "legacy.txt").write_text(LOCK)
    (tmp_path / "legacy-train.txt").write_text("Pillow==10.1\n")
    (tmp_path / "legacy-gpu.txt").write_text("nvidia-cudnn-cu12==8.9\nnvidia-nccl-cu12==2.19\n")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "status", "found"),
    [
        ({}, "ok", "3 as in "),
        ({"zope-interface": None}, "error", "1 of "),
        ({"pillow": "11", "tfx": "1.15"}, "warning", "pillow 11 for 10.1, tfx 1.15 for 1.16"),
        ({"tfx": "1.15", "pillow": None}, "error", "missing: pillow"),
    ],
)
def test_packages_are_compared_with_the_lock(folder, change, status, found) -> None:
    have = {name: version for name, version in {**HAVE, **change}.items() if version}
    [row] = packages_rows(have, folder, "legacy")
    assert row.status == status and found in row.found
    assert row.mend == ("" if status == "ok" else "make setup")


def test_only_some_of_many_are_named(folder) -> None:
    (folder / "legacy.txt").write_text("".join(f"p{n}==1\n" for n in range(9)))
    [row] = packages_rows({"tfx": "1.16"}, folder, "legacy")
    assert row.found.endswith("missing: p0, p1, p2, p3, p4 and 4 more")


@pytest.mark.parametrize("variable", ["", "all", "train"])
def test_a_machine_that_only_trains_needs_less(folder, monkeypatch, variable) -> None:
    monkeypatch.setenv("TFX_RCNN_PACKAGES", variable)  # of the shell, not of what is installed
    [row] = packages_rows({"pillow": "10.1"}, folder, "legacy")
    assert (row.status, row.found) == ("ok", f"1 as in {folder.name}/legacy-train.txt")
    assert not has_pipeline({"pillow": "10.1"})
    [row] = packages_rows(HAVE, folder, "legacy")
    assert (row.status, row.found) == ("ok", f"3 as in {folder.name}/legacy.txt")


def test_half_of_cuda_is_told(folder) -> None:
    have = {**HAVE, "nvidia-cudnn-cu12": "8.9"}
    rows = packages_rows(have, folder, "legacy")
    assert [row.status for row in rows] == ["ok", "error"]
    assert rows[1].mend == "TFX_RCNN_GPU=yes make setup"


def test_without_a_lock_nothing_can_be_compared(tmp_path) -> None:
    [row] = packages_rows({}, tmp_path, "legacy")
    assert row.status == "warning"


def test_pins_for_another_python_do_not_count(tmp_path) -> None:
    here = ".".join(map(str, sys.version_info[:2]))
    (tmp_path / "lock").write_text(
        f"a==1 ; python_full_version < '3.4'\na==2 ; python_full_version >= '3.4'\n"
        f"b==3 ; python_full_version == '{here}.*'\nb==4 ; python_full_version == '3.4.*'\n"
    )
    assert read_lock(tmp_path / "lock") == {"a": "2", "b": "3"}


def test_our_own_lock_fits_what_is_installed_here() -> None:
    assert packages_rows()[0].status == "ok"
