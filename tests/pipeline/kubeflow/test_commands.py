"""run-compiled at the command line: one line and a status, and nobody's files harmed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.__main__ import main
from tests.pipeline.kubeflow.player.conftest import PIPELINE


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    file = tmp_path / "words.yaml"
    file.write_text(yaml.safe_dump(PIPELINE))

    def call(*arguments: str) -> Result:
        root = ["--root", str(tmp_path / "root")] if "--root" not in arguments else []
        return CliRunner().invoke(main, ["run-compiled", str(file), *root, *arguments])

    return call


def test_a_run_tells_each_task_and_writes_its_summary(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("--param", "words=x=y", "--dialect", "2.4")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.output.splitlines()] == [
        "make",
        "read",
        "run",
        "summary",
    ]
    summary = json.loads((tmp_path / "root/summary.json").read_text())
    assert (summary["state"], summary["dialect"]) == ("SUCCEEDED", "2.4")
    assert summary["tasks"]["read"]["outputs"] == {"loud": "X=Y"}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--param", "words"], 2, "expected NAME=VALUE"),
        (["--param", "word=1"], 2, "no such parameter of the pipeline; it has words"),
        (["--dialect", "2.5"], 2, "2.5"),
        (["--store", "nosuch://x"], 2, "no file system for it here"),
    ],
)
def test_wrong_arguments_are_one_line(
    run: Callable[..., Result], arguments: list[str], status: int, said: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert said in result.output
    assert result.output.count("\n") == 1


def test_a_folder_of_the_users_is_left_alone(run: Callable[..., Result], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "metadata.json").write_text("my own")
    result = run("--root", str(mine))
    assert result.exit_code != 0
    assert result.output.startswith("error: ")
    assert [path.name for path in mine.iterdir()] == ["metadata.json"]
    assert (mine / "metadata.json").read_text() == "my own"
