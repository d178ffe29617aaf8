"""`tfx-rcnn doctor` and `--version` as a user calls them."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ground.version import VERSION
from pipeline.__main__ import main
from pipeline.doctor import examination
from pipeline.doctor.examination import run_checks
from pipeline.doctor.rows import Row, worst

WELL = Row("disk", "ok", "100 GiB free")
SO_SO = Row("memory", "warning", "2 GiB", "give it more")
ILL = Row("GPUs", "error", "no driver", "install one")


@pytest.mark.parametrize(
    ("rows", "status", "exit_status"),
    [([WELL], "ok", 0), ([WELL, SO_SO], "warning", 0), ([ILL, SO_SO, WELL], "error", 1)],
)
def test_the_worst_row_is_the_exit_status(monkeypatch, rows, status, exit_status) -> None:
    monkeypatch.setattr(examination, "examine", lambda *given: rows)
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == exit_status and worst(rows) == status
    lines = done.output.splitlines()
    assert lines[0].startswith(f"tfx-rcnn {VERSION} (revision ") and len(lines) == 1 + len(rows)
    assert all(
        row.found in line and row.mend in line for row, line in zip(rows, lines[1:], strict=True)
    )
    quiet = CliRunner().invoke(main, ["doctor", "--quiet"])
    assert quiet.output.splitlines() == lines[1:]
    told = CliRunner().invoke(main, ["doctor", "--json-logs"])
    assert (quiet.exit_code, told.exit_code) == (exit_status, exit_status)
    objects = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one["text"] for one in objects] == lines
    assert [Row(**one["row"]) for one in objects[1:]] == rows
    done = CliRunner().invoke(main, ["doctor", "--json"])
    answer = json.loads(done.output)
    assert done.exit_code == exit_status and answer["status"] == status
    assert [Row(**row) for row in answer["rows"]] == rows


def test_a_check_that_fails_by_itself_is_a_row() -> None:
    def fails() -> list[Row]:
        raise KeyError("flags")

    found = run_checks([lambda: [WELL], fails, lambda: [SO_SO]])
    assert found[0] == WELL and found[2] == SO_SO
    assert found[1].status == "error" and "KeyError: 'flags'" in found[1].found


def test_a_data_folder_without_a_config_is_wrong_usage() -> None:
    done = CliRunner().invoke(main, ["doctor", "--data-dir", "d"])
    assert done.exit_code == 2 and "--data-dir needs --config" in done.output


def test_the_version_comes_at_once(repo) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", repo / "tfx_rcnn.py", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    lane = "legacy" if sys.version_info < (3, 12) else "modern"
    assert done.stdout.startswith(f"tfx-rcnn {VERSION} (revision ")
    assert f"{lane} lane, Python 3." in done.stdout
    for heavy in ("numpy", "pydantic", "tensorflow", "rich"):
        assert f" {heavy}\n" not in done.stderr


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A Python without any package, as after a set-up that broke off."""
    venv.create(tmp_path / "bare", symlinks=True, with_pip=False)
    return tmp_path / "bare"


def run_bare(bare: Path, repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [bare / "bin" / "python", repo / "tfx_rcnn.py", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )


def test_missing_packages_are_rows_and_no_traceback(bare, repo) -> None:
    [site] = bare.glob("lib/python3*/site-packages")
    shutil.copytree(Path(click.__file__).parent, site / "click")
    config = repo / "configs" / "tiny.yaml"
    done = run_bare(bare, repo, "doctor", "--json", "--config", str(config), "--root", str(bare))
    assert done.returncode == 1 and done.stderr == ""
    rows = {row["check"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["lane"]["status"] == "ok"
    assert "are missing" in rows["packages"]["found"]
    for check in ("TensorFlow", "pycocotools", "pictures", "config"):
        assert rows[check]["status"] == "error"
        assert re.search("the package .* is missing: ", rows[check]["found"])
        assert rows[check]["mend"] == "make setup"


def test_without_click_there_is_one_line(bare, repo) -> None:
    done = run_bare(bare, repo, "doctor")
    assert done.returncode == 1
    assert done.stderr == (
        "error: the package click is missing: the installation is not whole, or of another "
        "revision: run make setup\n"
    )


@pytest.mark.slow
def test_this_machine_is_well(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", "--json", "--root", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = {row["check"]: row for row in json.loads(done.stdout)["rows"]}
    assert done.returncode == 0, rows
    tried = {"TensorFlow", "pycocotools", "pictures", "Beam", "ML Metadata", "TFX"}
    assert {rows[check]["status"] for check in tried} == {"ok"}
