"""A user's own modules, of names that we or Python have, do not get between."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tfx_rcnn
from pipeline.shapes import generate_shapes
from tests.model.training.tiny_run import tiny_config, write_examples

REPO = Path(__file__).resolve().parents[1]
OURS = ("ground", "configs", "model", "components", "pipeline", "tests")
PYTHONS = ("typing", "json", "yaml", "numpy", "click", "random", "string", "queue")
SCRIPT = "import sys\nfrom tfx_rcnn import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


def write_modules(folder: Path, names: tuple[str, ...]) -> Path:
    """Writes modules that end whoever imports them; every other one is a package."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        path = folder / f"{name}.py"
        if number % 2 == 0:
            (folder / name).mkdir()
            path = folder / name / "__init__.py"
        path.write_text("import os, sys\nsys.stderr.write(f'took {__file__}\\n')\nos._exit(77)\n")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all of them."""
    return write_modules(tmp_path / "users", (*OURS, *PYTHONS))


def run(
    folder: Path, *arguments: str, python_path: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    if python_path is not None:
        environment["PYTHONPATH"] = python_path
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def console_script(tmp_path: Path) -> str:
    """What `pip install` makes of the entry point."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / "tfx-rcnn"
    path.write_text(SCRIPT)
    return str(path)


def test_the_entry_point_is_the_module_with_a_name_of_its_own() -> None:
    text = (REPO / "setup.py").read_text()
    assert '"tfx-rcnn = tfx_rcnn:main"' in text and 'py_modules=["tfx_rcnn"]' in text


def test_the_command_works_among_a_users_modules(folder: Path, console_script: str) -> None:
    done = run(folder, console_script, "run", "--config", "none.yaml", "--data-dir", "d")
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {folder}/none.yaml: no such config file\n",
    )


def test_every_other_command_has_a_spelling_that_works_there(
    folder: Path, console_script: str
) -> None:
    arguments = ("-m", "model.train", "--config", "c", "--examples", "e", "--out", "o")
    done = run(folder, console_script, *arguments)
    assert (done.returncode, done.stderr) == (2, f"error: {folder}/c: no such config file\n")


@pytest.mark.parametrize("module", ["pipeline", "model.estimate", "components.detection_trainer"])
def test_pythonpath_comes_last(tmp_path: Path, console_script: str, module: str) -> None:
    # Without those that Python itself imports before it asks us.
    other = write_modules(tmp_path / "library", (*OURS, "json", "yaml", "numpy", "click"))
    (other / "only_there.py").write_text("")
    for command in ((console_script, "-m"), ("-m", "tfx_rcnn", "-m")):
        done = run(REPO, *command, module, "--help", python_path=str(other))
        assert done.returncode == 0, done.stderr
        assert "Usage: " in done.stdout
    found = run(
        tmp_path, console_script, "-m", "only_there", python_path=f"{other}{os.pathsep}{REPO}"
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("yaml", "numpy", "click", "configs"), None),
        (("typing",), "error: Python took {}/typing/__init__.py for its own 'typing': "),
    ],
)
def test_python_m_takes_ours_as_far_as_python_lets_it(
    tmp_path: Path, names: tuple[str, ...], said: str | None
) -> None:
    folder = write_modules(tmp_path / "users", names)
    for path in folder.rglob("typing*/__init__.py"):
        path.write_text("def __getattr__(name):\n    return lambda *_: _[0] if _ else None\n")
    preload = ("-m", "pipeline", "--help")
    if said is not None:  # Python's own start imports it, or does not, by what is installed
        code = "import sys, typing; sys.argv[0] = '-m'; import pipeline"
        preload = ("-S", "-c", f"import sys; sys.path.append({str(REPO)!r}); {code}")
    done = run(folder, *preload)
    if said is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 2
        assert done.stderr.startswith(said.format(folder)) and done.stderr.count("\n") == 1


def test_a_module_that_is_not_there_ends_in_a_line(folder: Path, console_script: str) -> None:
    for arguments, said in (
        (("-m",), "error: -m: expected a module such as model.train\n"),
        (("-m", "model.trane"), "error: -m model.trane: no such module\n"),
        (("-m", "model.train.main"), "error: -m model.train.main: no such module\n"),
        (("-m", ""), "error: -m : no such module\n"),
    ):
        done = run(folder, console_script, *arguments)
        assert (done.returncode, done.stderr) == (2, said)


def test_the_path_of_the_program_is_shown_as_a_shell_takes_it(tmp_path: Path) -> None:
    (tmp_path / "my env").mkdir()
    script = tmp_path / "my env" / "tfx-rcnn"
    script.write_text(f"import sys\nsys.path.insert(0, {str(REPO)!r})\n{SCRIPT}")
    done = run(tmp_path, str(script), "init", "--help")
    assert f"'{script}' init data/cells" in done.stdout


def test_a_working_folder_that_is_gone_ends_in_a_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"rmdir {gone}; exec {sys.executable} {REPO}/tfx_rcnn.py run --help"
    done = subprocess.run(["sh", "-c", code], cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: the working folder is gone: change to another one\n"


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """`settle` may change the path and the environment of this test alone."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "tfx-rcnn")])
    yield


@pytest.mark.usefixtures("settled")
def test_settle_orders_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root, users, other = tfx_rcnn.ROOT, str(tmp_path / "a"), str(tmp_path / "b")
    os.environ["PYTHONPATH"] = f"{users}::b:{root}"
    sys.path[:] = [str(tmp_path), users, other, root, "/usr/lib/python3", "/site", str(tmp_path)]
    tfx_rcnn.settle()
    # The working folder stays where Python itself did not put it.
    expected = [root, "/usr/lib/python3", "/site", str(tmp_path), users, other]
    assert sys.path == expected
    assert "PYTHONPATH" not in os.environ
    assert os.environ[tfx_rcnn.LAST_VARIABLE] == f"{users}:{other}:{root}"
    tfx_rcnn.settle()
    assert sys.path == expected


def test_a_child_gets_pythonpath_under_our_name() -> None:
    child = tfx_rcnn.child_environment({"PYTHONPATH": "/a:/b", "X": "1"})
    assert child == {tfx_rcnn.LAST_VARIABLE: "/a:/b", "X": "1", "PYTHONSAFEPATH": "1"}
    assert tfx_rcnn.child_environment(child) == child


@pytest.mark.e2e
def test_training_workers_are_ours(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.launch.launcher import train

    examples = write_examples(tmp_path / "examples")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    result = train(
        tiny_config("1x4"),
        examples,
        tmp_path / "out",
        worker_module="tests.model.training.tiny_run",
    )
    assert result.steps > 0


@pytest.mark.e2e
def test_beams_worker_processes_are_ours(folder: Path, tmp_path: Path, console_script: str) -> None:
    data = generate_shapes(tmp_path / "shapes", train=2, val=1, size=48)
    mode = "[--direct_running_mode=multi_processing, --direct_num_workers=2]"
    done = run(
        folder, console_script, "-m", "components.coco_example_gen",
        "--data-dir", str(data), "--split", "train=annotations/instances_train2017.json:train2017",
        "--out", str(tmp_path / "out"), "--set", f"pipeline.beam_args={mode}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 pictures in" in done.stdout
