"""The quickstart notebook runs from its first cell to its last, but for the time it takes."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.test_layering import REPO

NOTEBOOK = REPO / "examples" / "quickstart.ipynb"
# A kernel shows each figure anew; here what would be shown is counted.
SHOWN = """
import IPython.display
shown = []
IPython.display.display = shown.append
IPython.display.clear_output = lambda wait: None
"""
CHECK = """
kinds = [type(one).__name__ for one in shown]
assert kinds[0] == "IFrame" and kinds[-3:] == ["Image"] * 3 and "Figure" in kinds, kinds
for report in ("data", "evaluation"):
    assert (work / report / "report.html").is_file()
assert told[-1].step == trained.steps
assert not [name for name in ("tfx", "ml_metadata", "kfp") if name in sys.modules]
print("done")
"""


def code_cells() -> list[str]:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    return [cell.source for cell in code]


def test_it_says_how_jupyter_comes_into_each_environment() -> None:
    locks = [path for path in (REPO / "requirements").glob("*.txt") if path.stem != "docs"]
    assert len(locks) > 4
    # `notebook` has what starts it, `ipykernel` what runs cells in the environment it is in.
    wanted = {"notebook", "ipykernel"}
    names = {p: set(re.findall(r"^([\w.-]+)==", p.read_text(), re.MULTILINE)) for p in locks}
    having = {f"requirements/{path.name}" for path in locks if wanted <= names[path]}
    text = " ".join(nbformat.read(NOTEBOOK, as_version=4).cells[0].source.split())
    assert set(re.findall(r"requirements/[\w-]+\.txt", text)) == having
    [start] = re.findall(r"`\.\./\.venv/bin/(\S+)`", text)
    [(uv, python, package)] = re.findall(r"`(\S+) pip install --python (\S+) (\S+)`", text)
    assert (start, package) == ("jupyter-notebook", "notebook")
    setup = (REPO / "scripts" / "setup.sh").read_text()
    assert f'"$ROOT/{uv}"' in setup and f"VENV=$ROOT/{python}\n" in setup


def test_the_notebook_has_its_four_parts_and_no_output() -> None:
    text = "\n".join(code_cells())
    for call in ("prepare_coco(", "train(", "evaluate_to_folder(", "draw("):
        assert call in text


@pytest.mark.e2e
def test_the_cells_run_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "configs").symlink_to(REPO / "configs")
    small = "\n".join([SHOWN, *code_cells(), CHECK])
    small = small.replace("train=160, val=24", "train=8, val=3").replace("epochs=4", "epochs=1")
    assert re.search("train=8, val=3", small) and "epochs=1" in small
    script = tmp_path / "cells.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(REPO)!r})\n{small}")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path / "examples", capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == "done"
