"""The container entry as a process, with a stand-in for TFX: what it passes on, how it ends."""

import getpass
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.detection_trainer.settings import DetectionTrainerSettings
from configs.schema import Config
from ground.source_digest import SOURCE_ROOT
from pipeline.kubeflow.entry import COMMAND, EXIT_TERMINATED

# Stands where TFX's entry is: tells what it was given, and does what the test asks for.
STAND_IN = """
import json, os, sys, time
from pathlib import Path

def main(parsed):
    given, beam_args = parsed
    message = json.loads(given.json_serialized_invocation_args)
    Path(os.environ["SEEN"]).write_text(json.dumps({
        "class": given.executor_class_path, "message": message, "beam": beam_args,
        "inputs_spec": json.loads(given.json_serialized_inputs_spec_args), "argv": sys.argv[1:],
    }))
    exec(os.environ["DO"], dict(globals()))
    target = Path(message["outputs"]["outputFile"])
    target.parent.mkdir(parents=True, exist_ok=True)
    uri = message["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"]
    target.write_text(json.dumps({"artifacts": {"model": {"artifacts": [
        {"uri": uri, "metadata": {"at": uri + "/x", "none": None}}]}}}))
"""
INPUT = {
    "inputs": {},
    "outputs": {
        "artifacts": {
            "model": {"artifacts": [{"uri": "minio://b/run/t/1/model"}]},
            "executor-logs": {"artifacts": [{"uri": "minio://b/run/t/1/executor-logs-0"}]},
        },
        "outputFile": "/tmp/kfp_outputs/output_metadata.json",
    },
}
OUTPUTS_SPEC = {"artifacts": {"model": {"artifactType": {"schemaTitle": "tfx.Model"}}}}


class Pod:
    """A pod's folders, and the entry started in it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.work = folder / "root", folder / "work"
        self.seen = folder / "seen.json"
        (self.root / "dev").mkdir(parents=True)
        (self.root / "dev/termination-log").touch()
        self.work.mkdir()
        package = folder / "stand_in/tfx/orchestration/kubeflow/v2/container"
        package.mkdir(parents=True)
        for parent in package.relative_to(folder / "stand_in").parents:
            (folder / "stand_in" / parent / "__init__.py").touch()
        (package / "__init__.py").touch()
        (package / "kubeflow_v2_run_executor.py").write_text(STAND_IN)
        self._path = f"{folder / 'stand_in'}{os.pathsep}{SOURCE_ROOT}"

    def start(
        self, *arguments: str, do: str = "pass", **environment: str
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, *COMMAND[1:], *arguments],
            cwd=self.work,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": self._path,
                "TFX_RCNN_POD_ROOT": str(self.root),
                "SEEN": str(self.seen),
                "DO": do,
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *extra: str, do: str = "pass", **environment: str) -> tuple[int, str]:
        process = self.start(*ARGUMENTS, *extra, do=do, **environment)
        log, _ = process.communicate(timeout=60)
        return process.returncode, log

    @property
    def message(self) -> str:
        return (self.root / "dev/termination-log").read_text()

    def seen_by_tfx(self) -> dict[str, Any]:
        return json.loads(self.seen.read_text())


ARGUMENTS = [
    "--executor_class_path",
    "components.x.Executor",
    "--json_serialized_invocation_args",
    json.dumps(INPUT),
    "--json_serialized_inputs_spec_args",
    "{}",
    "--json_serialized_outputs_spec_args",
    json.dumps(OUTPUTS_SPEC),
]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_tfx_gets_local_paths_and_the_launcher_addresses(pod: Pod) -> None:
    status, log = pod.run("--direct_running_mode=in_memory")
    assert status == 0, log
    seen = pod.seen_by_tfx()
    local = f"{pod.root}/minio/b/run/t/1/model"
    assert seen["message"]["outputs"]["artifacts"] == {
        "model": {"artifacts": [{"uri": local, "type": {"schemaTitle": "tfx.Model"}}]}
    }
    assert (seen["class"], seen["beam"]) == (
        "components.x.Executor",
        ["--direct_running_mode=in_memory"],
    )
    assert seen["argv"] == []  # which Beam would read
    output = json.loads((pod.root / "tmp/kfp_outputs/output_metadata.json").read_text())
    assert output["artifacts"]["model"]["artifacts"] == [
        {"uri": "minio://b/run/t/1/model", "metadata": {"at": "minio://b/run/t/1/model/x"}}
    ]
    assert pod.message == ""


def test_a_trainer_is_tracked_as_its_pod_is_told(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "stand_in" / "mlflow").mkdir()  # an image with the package
    (tmp_path / "stand_in" / "mlflow" / "__init__.py").touch()
    settings = DetectionTrainerSettings.of(Config(name="cells")).to_json()
    values = {"settings": settings, "overrides": "train.seed=7"}
    arguments = list(ARGUMENTS)
    arguments[1] = "components.detection_trainer.executor.Executor"
    arguments[3] = json.dumps({**INPUT, "inputs": {"parameterValues": values}})
    do = (
        "from model.tracking.request import current_request as asked; told = asked();"
        "print('tracked', told.name, told.settings.mlflow, told.parameters['train.seed'])"
    )
    tracking = json.dumps({"mlflow": "http://mlflow:5000"})
    process = pod.start(*arguments, do=do, TFX_RCNN_TRACKING=tracking)
    log, _ = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "tracked cells http://mlflow:5000 7" in log.splitlines()


@pytest.mark.parametrize("name", ["pipeline", "configs", "model", "tfx", "json"])
def test_folders_of_the_users_in_the_working_folder_are_not_imported(pod: Pod, name: str) -> None:
    (pod.work / name).mkdir()
    (pod.work / name / "__init__.py").write_text("raise SystemExit('imported the wrong one')")
    (pod.work / f"{name}.py").write_text("raise SystemExit('imported the wrong one')")
    status, log = pod.run()
    assert status == 0, log


def test_a_user_without_a_home_gets_one_and_a_name(pod: Pod) -> None:
    """As clusters run images: a uid that no passwd file has, HOME unset or `/`."""
    look = (
        "import getpass, pathlib; home = pathlib.Path.home(); (home / 'x').touch(); "
        "print('home', home, getpass.getuser())"
    )
    status, log = pod.run(do=look)  # whose environment has no HOME
    assert status == 0, log
    name = getpass.getuser()
    assert log.startswith(f"home {pod.root}/tmp/tfx-rcnn/home {name}")
    status, log = pod.run(do=look, HOME=str(pod.work))
    assert log.startswith(f"home {pod.work} ")


def test_a_pod_without_a_place_to_write_to_says_what_to_set(pod: Pod) -> None:
    (pod.root / "tmp").write_text("in the place of a folder, as root may write everywhere")
    status, log = pod.run()
    assert status == 2
    assert "pipeline.kubeflow.tasks: {TASK: {scratch: 10Gi}}" in pod.message
    assert log.count("\n") == 1


def test_an_explained_error_is_one_line_with_its_own_status(pod: Pod) -> None:
    status, log = pod.run(do="from ground.errors import ConfigError; raise ConfigError('a\\nb')")
    assert (status, pod.message) == (2, "a b")
    assert log == "error: a b\n"


def test_another_error_is_one_line_and_its_traceback_is_in_the_log(pod: Pod) -> None:
    status, log = pod.run(do="{}['key']")
    assert (status, pod.message) == (1, "KeyError: 'key'")
    assert "Traceback" in log
    assert log.endswith("error: KeyError: 'key'\n")


def test_a_long_error_fits_into_the_termination_message(pod: Pod) -> None:
    pod.run(do="raise ValueError('€' * 10000)")
    assert 1990 < len(pod.message.encode()) <= 2000
    assert pod.message.rstrip("€") == "ValueError: "


def test_sigterm_ends_with_143_and_says_so(pod: Pod) -> None:
    process = pod.start(*ARGUMENTS, do="print('started', flush=True); time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == EXIT_TERMINATED == 143
    assert pod.message == "stopped by SIGTERM: the pod was deleted or its node is drained"


def test_sigterm_reaches_a_training_which_says_where_it_stopped(pod: Pod) -> None:
    train = """
import signal
from model.launch.launcher import _forwarded_signals
from model.launch.errors import TrainingStopped
asked = []
with _forwarded_signals(asked.append):
    print("started", flush=True)
    while not asked:
        time.sleep(0.01)
raise TrainingStopped(7)
"""
    process = pod.start(*ARGUMENTS, do=train)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == EXIT_TERMINATED
    assert pod.message == "stopped after 7 steps: resumable, run the same again"


def test_a_log_that_nobody_reads_any_more_does_not_change_the_end(pod: Pod) -> None:
    """KFP's launcher, which reads our log through a pipe, ends before us."""
    process = pod.start(*ARGUMENTS, do="time.sleep(1); raise ValueError('late')")
    assert process.stdout is not None
    process.stdout.close()
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (process.returncode, pod.message) == (1, "ValueError: late")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: --executor_class_path"),
        ([*ARGUMENTS[:3], "{{$}}", *ARGUMENTS[4:]], "expected JSON"),
        ([*ARGUMENTS[:5], "[]", *ARGUMENTS[6:]], "expected a JSON object, got '[]'"),
    ],
)
def test_wrong_arguments_are_one_line(pod: Pod, arguments: list[str], said: str) -> None:
    process = pod.start(*arguments)
    log, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in log
    assert log.count("\n") == 1
