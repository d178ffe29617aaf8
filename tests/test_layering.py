"""Import direction: ground <- configs <- model <- components <- pipeline, and what each may import.

A module that is started by its name counts as imported: no import shows it. Besides: files and
functions that one can read at a time, and methods in which workers wait for each other say so.
"""

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.loader import section_of
from configs.schema import Config

REPO = Path(__file__).resolve().parents[1]
LAYERS = ["ground", "configs", "model", "components", "pipeline"]
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
LIBRARIES_OF = {
    "ground": {"click", "jinja2", "psutil", "rich"},
    "configs": {"pydantic", "pydantic_core", "yaml"},
}
DOTTED = re.compile(r"\w+(\.\w+)*")
PURE_PLACES = ("components/coco_evaluator/gate.py", "model/coco/", "model/evaluation/")
MAY_IMPORT_CLICK = "model/commands/"
ROOMS_BELOW_LAUNCH = ("model/training/", "model/evaluation/", "model/input/", "model/layers/")

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60


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


def modules_named_in(source: str) -> Iterator[tuple[int, str]]:
    """Yields (line, module) of every text that is the dotted name of a module of ours.

    A setting may have a module's name (`model.weights`); it is none.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            top, dot, rest = node.value.partition(".")
            if dot and top in LAYERS and DOTTED.fullmatch(rest) and not is_setting(node.value):
                names = itertools.takewhile(lambda name: not name[:1].isupper(), rest.split("."))
                path = REPO.joinpath(top, *names)  # a class may follow the module
                if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
                    yield node.lineno, node.value


def is_setting(name: str) -> bool:
    section: Any = Config
    for part in name.split("."):
        if section is None or part not in section.model_fields:
            return False
        section = section_of(section.model_fields[part].annotation)
    return True


def violations(source: str, path: str) -> list[str]:
    """Returns a line for each import in the file at `path` (from the root) that breaks a rule."""
    package = ".".join(Path(path).parts[:-1])
    layer = Path(path).parts[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    found = []
    for line, module in [*imports_of(source, package), *modules_named_in(source)]:
        top = module.split(".")[0]
        if top in above | NOT_OURS_TO_IMPORT:
            reason = f"{layer} may not import {top}"
        elif layer in LIBRARIES_OF and top not in {*sys.stdlib_module_names, *LAYERS}:
            reason = None if top in LIBRARIES_OF[layer] else f"{layer} may not import {top}"
        elif layer == "model" and top in TFX_AND_BEAM:
            reason = f"model may not import {top}"
        elif layer == "model" and top == "click" and not path.startswith(MAY_IMPORT_CLICK):
            reason = "of model/ only model/commands/ may import click"
        elif path.startswith(ROOMS_BELOW_LAUNCH) and module.startswith("model.launch"):
            reason = "of model/ only the rooms above may import model.launch"
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
        ("ground/a.py", "from configs import loader", "ground may not import configs"),
        ("ground/a.py", "import yaml", "ground may not import yaml"),
        ("configs/a.py", "import model.ops", "configs may not import model"),
        ("configs/a.py", "import numpy as np", "configs may not import numpy"),
        ("model/ops/a.py", "from components.x import y", "model may not import components"),
        ("model/ops/a.py", "def f():\n    import apache_beam", "model may not import apache_beam"),
        ("model/ops/a.py", "from tfx.types import x", "model may not import tfx"),
        ("model/a.py", "import click", "only model/commands/ may import click"),
        ("model/a.py", "run('components.coco_transform', x)", "model may not import components"),
        ("model/a.py", "C = 'pipeline.sagemaker.entry'", "model may not import pipeline"),
        ("components/x/a.py", "from pipeline import x", "components may not import pipeline"),
        ("components/a.py", "C = 'pipeline.pipeline.Places'", "components may not import pipeline"),
        ("pipeline/a.py", "import tests.parity", "pipeline may not import tests"),
        (PURE_PLACES[0], "import tensorflow as tf", "gate.py may not import tensorflow"),
        (
            "model/training/a.py",
            "from model.launch import job",
            "only the rooms above may import model.launch",
        ),
        ("model/coco/a.py", "import tensorflow as tf", "coco/a.py may not import tensorflow"),
        ("model/ops/a.py", "from . import boxes\nfrom ..layers import fpn\nimport configs", None),
        ("model/commands/a.py", "import click", None),
        ("components/x/a.py", "import tfx, apache_beam, model, configs.schema", None),
        ("configs/a.py", "import json\nfrom configs import schema\nimport yaml, ground", None),
        ("configs/a.py", "KEY, TEXT = 'model.weights', 'model.what.ever: no'", None),
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
        "ground.console",
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


def longer_than_allowed(source: str, path: str) -> list[str]:
    """Returns a line for the file and each function in it that is longer than it may be.

    A file may say in its first docstring why it is longer; a function's own docstring is no part of
    it; `create_pipeline` is the graph.
    """
    tree = ast.parse(source)
    lines = source.count("\n")
    says_why = "Longer than other files" in (ast.get_docstring(tree) or "")
    found = [f"{path}: {lines} lines"] if lines > MOST_LINES and not says_why else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name != "create_pipeline":
            text = node.body[0].end_lineno - node.body[0].lineno + 1
            length = node.end_lineno - node.lineno + 1 - (text if ast.get_docstring(node) else 0)
            if length > MOST_LINES_OF_A_FUNCTION:
                found.append(f"{path}: {node.name} has {length} lines")
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_files_and_functions_can_be_read_at_a_time(layer: str) -> None:
    found = []
    for path in sorted((REPO / layer).rglob("*.py")):
        found += longer_than_allowed(path.read_text("utf-8"), path.relative_to(REPO).as_posix())
    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f():\n" + "    x = 1\n" * 60, ["a.py: f has 61 lines"]),
        ('def f():\n    """A.\n\n    B.\n    """\n' + "    x = 1\n" * 59, []),
        ("def create_pipeline():\n" + "    x = 1\n" * 99, []),
        ("x = 1\n" * 401, ["a.py: 401 lines"]),
        ('"""A.\n\nLonger than other files: it is a list.\n"""\n' + "x = 1\n" * 401, []),
    ],
)
def test_what_is_too_long_is_named(source: str, found: list[str]) -> None:
    assert longer_than_allowed(source, "a.py") == found


def silent_collectives(source: str) -> list[str]:
    """Returns the functions in which workers wait for each other, and whose first line is silent.

    They call `gather`, `broadcast` or `all_sum` of a `distribution`.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef):
            continue
        called = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
        waits = any(
            isinstance(function, ast.Attribute)
            and function.attr in ("gather", "broadcast", "all_sum")
            and "distribution" in ast.unparse(function.value)
            for function in called
        )
        if waits and not (ast.get_docstring(node) or "").startswith("All workers"):
            found.append(node.name)
    return found


def test_methods_with_a_collective_say_who_takes_part() -> None:
    found = {
        path.name: silent
        for path in sorted((REPO / "model").rglob("*.py"))
        if (silent := silent_collectives(path.read_text("utf-8")))
    }
    assert found == {}
    assert silent_collectives("def f(self):\n    self._distribution.gather(b'')") == ["f"]


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
