"""Import direction: configs <- model <- components <- pipeline, and what each may import."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
LAYERS = ["configs", "model", "components", "pipeline"]
NOT_OURS_TO_IMPORT = {"tests", "benchmarks", "scripts", "examples", "docs"}
TFX_AND_BEAM = {
    "apache_beam",
    "kfp",
    "ml_metadata",
    "tensorflow_data_validation",
    "tensorflow_transform",
    "tfx",
    "tfx_bsl",
}
CONFIGS_MAY_IMPORT = {"absl", "click", "pydantic", "pydantic_core", "rich", "yaml"}
PURE_PLACES = ("components/coco_evaluator/gate.py", "model/coco/", "model/evaluation/")
MAY_IMPORT_CLICK = ("model/commands/", "model/training/sagemaker_entry.py")


def imports_of(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yields (line, absolute module) of every import, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            yield node.lineno, module


def violations(source: str, path: str) -> list[str]:
    """Returns a line for each import in the file at `path` (from the root) that breaks a rule."""
    package = ".".join(Path(path).parts[:-1])
    layer = Path(path).parts[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    found = []
    for line, module in imports_of(source, package):
        top = module.split(".")[0]
        if top in above | NOT_OURS_TO_IMPORT:
            reason = f"{layer} may not import {top}"
        elif layer == "configs" and top not in {*sys.stdlib_module_names, "configs"}:
            reason = None if top in CONFIGS_MAY_IMPORT else f"configs may not import {top}"
        elif layer == "model" and top in TFX_AND_BEAM:
            reason = f"model may not import {top}"
        elif layer == "model" and top == "click" and not path.startswith(MAY_IMPORT_CLICK):
            reason = "of model/ only model/commands/ may import click"
        elif path.startswith(PURE_PLACES) and top in TFX_AND_BEAM | {"tensorflow", "keras"}:
            reason = f"{path} may not import {top}"
        else:
            reason = None
        if reason:
            found.append(f"{path}:{line}: {reason}")
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer: str) -> None:
    paths = sorted((REPO / layer).rglob("*.py"))
    assert paths, f"no modules under {layer}/"
    found = []
    for path in paths:
        found += violations(path.read_text("utf-8"), path.relative_to(REPO).as_posix())
    assert found == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("configs/a.py", "import model.ops", "configs may not import model"),
        ("configs/a.py", "import numpy as np", "configs may not import numpy"),
        ("model/ops/a.py", "from components.x import y", "model may not import components"),
        ("model/ops/a.py", "def f():\n    import apache_beam", "model may not import apache_beam"),
        ("model/ops/a.py", "from tfx.types import x", "model may not import tfx"),
        ("model/a.py", "import click", "only model/commands/ may import click"),
        ("components/x/a.py", "from pipeline import x", "components may not import pipeline"),
        ("pipeline/a.py", "import tests.parity", "pipeline may not import tests"),
        (PURE_PLACES[0], "import tensorflow as tf", "gate.py may not import tensorflow"),
        ("model/coco/a.py", "import tensorflow as tf", "coco/a.py may not import tensorflow"),
        ("model/ops/a.py", "from . import boxes\nfrom ..layers import fpn\nimport configs", None),
        ("model/commands/a.py", "import click", None),
        ("components/x/a.py", "import tfx, apache_beam, model, configs.schema", None),
        ("configs/a.py", "import json\nfrom configs import schema\nimport yaml", None),
    ],
)
def test_each_rule_can_fail(path: str, source: str, expected: str | None) -> None:
    found = violations(source, path)
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].endswith(expected)


@pytest.mark.parametrize(
    "module",
    [
        "configs.loader",
        "components.coco_evaluator.gate",
        "model.coco.entries",
        "pipeline.__main__",
    ],
)
def test_import_starts_no_heavy_library(module: str) -> None:
    # Their packages' __init__.py and all that they import count too, so they are started.
    heavy = sorted(TFX_AND_BEAM | {"keras", "matplotlib", "pandas", "tensorflow"})
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_every_file_with_tests_is_collected() -> None:
    misnamed = []
    for path in sorted((REPO / "tests").rglob("*.py")):
        tests = [
            node.name
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and node.name.startswith(("test_", "Test"))
        ]
        if tests and not path.name.startswith("test_"):
            misnamed.append(f"{path.relative_to(REPO)}: {tests[0]}")
    assert misnamed == []
