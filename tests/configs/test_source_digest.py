"""The digest changes with the code that a component can reach, and with nothing else."""

from pathlib import Path

import pytest

from configs.source_digest import SOURCE_ROOT, source_digest, source_files

SOURCES = {
    "model/__init__.py": "",
    "model/ops/__init__.py": "",
    "model/ops/nms.py": "import math\nLIMIT = 1\n",
    "model/training/__init__.py": "",
    "model/training/worker.py": "from model.ops import nms\n",
    "model/training/launcher.py": 'COMMAND = ["-m", "model.training.worker"]\n',
    "model/records.py": 'KEY = "image"\n',
    "components/__init__.py": "",
    "components/gen/__init__.py": "",
    "components/gen/executor.py": "from model.records import KEY\nfrom . import coco\n",
    "components/gen/coco.py": "def parse(): return 1\n",
    "components/trainer/__init__.py": "",
    "components/trainer/executor.py": (
        "def do():\n    from model.training import launcher\n    return launcher\n"
    ),
    "components/trainer/report.html": "<p>",
}
GEN = ("components.gen.executor",)
TRAINER = ("components.trainer.executor", "model.training.worker")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def _digests(tree: Path) -> tuple[str, str]:
    return source_digest(*GEN, source_root=tree), source_digest(*TRAINER, source_root=tree)


def _names(tree: Path, *modules: str) -> list[str]:
    return [p.relative_to(tree).as_posix() for p in source_files(*modules, source_root=tree)]


def test_files_are_those_that_imports_reach(tree: Path) -> None:
    assert _names(tree, *GEN) == [
        "components/__init__.py",
        "components/gen/__init__.py",
        "components/gen/coco.py",
        "components/gen/executor.py",
        "model/__init__.py",
        "model/records.py",
    ]


def test_imports_inside_functions_and_extra_roots_count(tree: Path) -> None:
    names = _names(tree, *TRAINER)
    assert "model/training/launcher.py" in names
    assert "model/ops/nms.py" in names
    assert "model/ops/nms.py" not in _names(tree, "components.trainer.executor")


@pytest.mark.parametrize(
    ("changed", "text", "gen_changes", "trainer_changes"),
    [
        ("model/ops/nms.py", "import math\nLIMIT = 2\n", False, True),
        ("components/gen/coco.py", "def parse(): return 2\n", True, False),
        ("model/__init__.py", "x = 1\n", True, True),
        ("components/trainer/report.html", "<b>", False, False),
        ("model/ops/nms.py", '"""Says."""\nimport math  # why\n\n\nLIMIT = (1)\n', False, False),
    ],
)
def test_change_reaches_exactly_the_components_that_use_it(
    tree: Path, changed: str, text: str, gen_changes: bool, trainer_changes: bool
) -> None:
    gen, trainer = _digests(tree)
    (tree / changed).write_text(text)
    new_gen, new_trainer = _digests(tree)
    assert (new_gen != gen) is gen_changes
    assert (new_trainer != trainer) is trainer_changes


def test_renamed_module_changes_the_digest(tree: Path) -> None:
    gen, _ = _digests(tree)
    (tree / "components/gen/coco.py").rename(tree / "components/gen/parse.py")
    (tree / "components/gen/executor.py").write_text(
        "from model.records import KEY\nfrom . import parse\n"
    )
    assert _digests(tree)[0] != gen


def test_unknown_module_is_an_error(tree: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"components\.absent"):
        source_digest("components.absent", source_root=tree)


def test_own_tree_is_where_the_packages_are() -> None:
    assert (SOURCE_ROOT / "configs" / "source_digest.py").is_file()
