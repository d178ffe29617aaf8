"""The digest changes with the code that a component can reach, and with nothing else."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ground.source_digest import LIBRARIES, SOURCE_ROOT, _libraries, source_digest, source_files

SOURCES = {
    "model/__init__.py": "",
    "model/ops/__init__.py": "",
    "model/ops/nms.py": "import math\nLIMIT = 1\n",
    "model/launch/__init__.py": "",
    "model/launch/worker.py": "from model.ops import nms\n",
    "model/launch/launcher.py": 'COMMAND = ["-m", "model.launch.worker"]\n',
    "model/records.py": 'KEY = "image"\n',
    "components/__init__.py": "",
    "components/gen/__init__.py": "",
    "components/gen/executor.py": "from model.records import KEY\nfrom . import coco\n",
    "components/gen/coco.py": "def parse(): return 1\n",
    "components/trainer/__init__.py": "",
    "components/trainer/executor.py": (
        "def do():\n    from model.launch import launcher\n    return launcher\n"
    ),
    "components/trainer/report.html": "<p>",
}
GEN = ("components.gen.executor",)
TRAINER = ("components.trainer.executor", "model.launch.worker")


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
    assert "model/launch/launcher.py" in names
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
    assert (SOURCE_ROOT / "ground" / "source_digest.py").is_file()


# Each form of code whose syntax tree the Pythons show, or cut, differently.
SNIPPETS = {
    "empty": "",
    "function": "def f(a, /, b: int = 1, *c, d=None, **e):\n    '''Says.'''\n    return a\n",
    "classes": "@final\nclass A(B, metaclass=C):\n    x: int = 1\n    def f(self): yield\n",
    "f_strings": "f'a{x}b' f'{y!r:>{w}}' 'c' f'{z=}' f'{{}}' f'{x:%Y-%m}{{}}' f''\n",
    "strings": "u'a' 'b' r'\\d' 'ä' '''\n''', b'\\x00'\n",
    "numbers": "1 + 1.5e300 + 2j + 0x10 + 1_000 - True\n",
    "matches": "match x:\n    case {'a': [1, *y], **z} | P(q=2): pass\n    case None if x: pass\n",
    "asynchronous": "async def f():\n    async with a as b, c: return [i async for i in b]\n",
    "comprehension": "{k: v for k, v in x} | {*y} | {**z}\nlambda: (yield)\n",
    "slices": "x[1:2, ..., ::3] = y[z] if 0 else y[()]\n",
    "tries": "try:\n    import a.b as c\nexcept E as e:\n    raise G from e\nfinally: del a\n",
    "walrus": "while (n := f()): global g, h; print(n, end='', *a, **b)\n",
}
# Of all of them; reckoned on Python 3.10, 3.11, 3.12 and 3.13 alike.
SNIPPETS_DIGEST = "b0da41c5547ec456754b9f6a83064daf66a1da8ee828055575d9cd521299ca8e"


@pytest.fixture
def snippets(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    for name, text in SNIPPETS.items():
        (tmp_path / "model" / f"{name}.py").write_text(text, encoding="utf-8")
    (tmp_path / "model" / "__init__.py").write_text(
        "".join(f"import model.{name}\n" for name in SNIPPETS)
    )
    return tmp_path


def test_every_python_makes_the_same_digest_of_the_same_code(snippets: Path) -> None:
    assert source_digest("model", source_root=snippets) == SNIPPETS_DIGEST


def test_other_pythons_here_agree(snippets: Path) -> None:
    script = (
        "import pathlib, sys\n"
        f"sys.path.insert(0, {str(SOURCE_ROOT)!r})\n"
        "from ground.source_digest import source_digest\n"
        f"snippets = source_digest('model', source_root=pathlib.Path({str(snippets)!r}))\n"
        "print('%d.%d' % sys.version_info[:2], snippets, source_digest('configs.loader'))\n"
    )
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    folders += Path(os.environ.get("PYENV_ROOT", "/nonexistent")).glob("versions/3.*/bin")
    names = [f"python3.{minor}" for minor in range(10, 15)]
    programs = {Path(sys.executable)} | {folder / name for folder in folders for name in names}
    answers = [
        subprocess.run([program, "-c", script], capture_output=True, text=True, check=False)
        for program in programs
        if program.exists()
    ]
    said = dict(answer.stdout.split(" ", 1) for answer in answers if answer.returncode == 0)
    if len(said) < 2:
        pytest.skip("no second Python from 3.10 on runs here")
    assert len(set(said.values())) == 1, said


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("x = f'a{y}b'", True),
        ('x = (f"a" f"{y}b")  # why', True),
        ("x = f'a{y}c'", False),
        ("x = f'a{y!r}b'", False),
        ("x = f'a{y}b', None", False),
        ("x = 'a{y}b'", False),
    ],
)
def test_strings_count_by_what_they_say(tree: Path, text: str, same: bool) -> None:
    path = tree / "components/gen/coco.py"
    path.write_text("x = f'a{y}b'\n")
    before, _ = _digests(tree)
    path.write_text(text)
    assert (_digests(tree)[0] == before) is same


def test_versions_of_the_libraries_that_are_imported_count(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "model/ops/nms.py").write_text("def f():\n    import tensorflow as tf\n")
    versions = {"tensorflow": "2.16.2", "numpy": "1.26.4"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    gen, trainer = _digests(tree)
    versions["numpy"] = "2.4.6"
    assert _digests(tree) == (gen, trainer)
    versions["tensorflow"] = "2.21.0"
    assert _digests(tree)[0] == gen
    assert _digests(tree)[1] != trainer


def test_components_count_the_libraries_that_they_lean_on() -> None:
    def libraries(*modules: str) -> set[str]:
        return _libraries(source_files(*modules))

    assert {"tfx", "apache-beam", "numpy", "pillow"} <= libraries(
        "components.coco_example_gen.executor"
    )
    assert {"tensorflow", "keras", "numpy"} <= libraries(
        "components.detection_trainer.executor", "model.launch.worker"
    )
    assert {"tensorflow", "pycocotools", "numpy"} <= libraries("components.coco_evaluator.executor")


def test_every_library_that_counts_is_installed() -> None:
    for package in LIBRARIES.values():
        assert importlib.metadata.version(package)
