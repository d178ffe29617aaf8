"""The notebook runs: up to the call that needs an account by itself, and that call against moto."""

import json
import runpy
from pathlib import Path

import boto3
import nbformat
import pytest
from moto import mock_aws

NOTEBOOK = Path(__file__).parents[1] / "examples/sagemaker.ipynb"


@pytest.fixture
def cells(monkeypatch, tmp_path):
    """The notebook's code cells: those that need no account, and those that do."""
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    tagged = ["needs-account" in cell.metadata.get("tags", []) for cell in code]
    assert tagged == sorted(tagged)
    first = tagged.index(True)
    return [cell.source for cell in code[:first]], [cell.source for cell in code[first:]]


def test_the_cells_before_the_account_build_and_show_the_request(cells, tmp_path, capsys):
    free, _ = cells
    script = tmp_path / "cells.py"
    script.write_text("\n".join(free))
    variables = runpy.run_path(str(script))
    output = capsys.readouterr().out
    shown, end = json.JSONDecoder().raw_decode(output)
    assert shown == variables["request"]
    assert shown["ResourceConfig"]["InstanceCount"] == 2
    assert output[end:].split("\n")[1:3] == [
        "batch 16x4: 64 pictures a step, 12 epochs",
        "learning rate 0.08 after warm-up",
    ]


def test_the_last_cells_start_the_job(cells, tmp_path, capsys, monkeypatch):
    free, needs_account = cells
    script = tmp_path / "cells.py"
    script.write_text("\n".join([*free, *needs_account]))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="my-bucket")
        variables = runpy.run_path(str(script))
        [sent] = s3.list_objects_v2(Bucket="my-bucket")["Contents"]
    name = variables["job"].name
    assert sent["Key"].startswith(f"jobs/{name}/source/")
    status, model = capsys.readouterr().out.splitlines()[-2:]
    assert status == "Completed"
    assert model.startswith("s3://my-bucket/jobs")
