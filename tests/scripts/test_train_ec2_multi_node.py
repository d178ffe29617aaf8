"""Training over ssh: stand-ins for ssh (a shell here) and for Python (it notes its arguments)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ground.errors import ConfigError
from pipeline.hosts import multi_node
from pipeline.hosts.multi_node import Host, HostProcesses, read_hosts
from tests.free_ports import free_ports

SSH = (
    '#!/bin/sh\n[ "$1" = ubuntu@127.0.0.1 ] || [ "$1" = 127.0.0.2 ] || exit 255\nexec sh -c "$2"\n'
)
# What a host does in place of `pipeline run` is in $RUN.
PYTHON = f"""#!/bin/sh
if [ "$2" = pipeline.hosts.on_host ]; then exec {sys.executable} "$@"; fi
if [ "$3" = pipeline.hosts.multi_node ]; then exec {sys.executable} "$@"; fi
echo "$TFX_RCNN_HOST_INDEX of $TFX_RCNN_HOSTS: $*" >>"$LOG"
eval "$RUN"
"""


def write_program(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("given", "passed"), [("s3://bucket/%h", "s3://bucket/h1"), ("d/%h", "/here/d/h1")]
)
def test_data_may_be_at_an_address(monkeypatch, given, passed):
    monkeypatch.setenv("DATA_DIR", given)
    monkeypatch.setattr(os, "getcwd", lambda: "/here")
    arguments = multi_node._arguments(Host("me@h1", "h1:1"), Path("c.yaml"), ())
    expected = {"--config": "/here/c.yaml", "--data-dir": passed, "--root": "/here/runs/c"}
    assert dict(zip(arguments[:6:2], arguments[1:6:2], strict=True)) == expected


@pytest.fixture
def start(repo, tmp_path):
    """Starts the script on two hosts in `tmp_path`."""
    (tmp_path / "hosts.txt").write_text("# ours\nubuntu@127.0.0.1\n\n127.0.0.2:7000  # the other\n")
    (tmp_path / "mine.yaml").write_text("name: mine\ntrain: {batch: 8x3}\n")
    environment = {
        **os.environ,
        "SSH": write_program(tmp_path / "ssh", SSH),
        "PYTHON": write_program(tmp_path / "python", PYTHON),
        "LOG": str(tmp_path / "log"),
        "RUN": ":",
    }

    def run(*arguments: str, **variables: str) -> subprocess.Popen:
        return subprocess.Popen(
            [str(repo / "scripts/train_ec2_multi_node.sh"), *arguments],
            cwd=tmp_path,
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def calls(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def wait_for_calls(folder: Path, number: int) -> None:
    deadline = time.monotonic() + 30
    while not (folder / "log").exists() or len(calls(folder)) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def remaining(folder: Path) -> list[psutil.Process]:
    """Returns the processes that were started for a test in `folder` and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LOG") == str(folder / "log"):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while remaining(folder):
        assert time.monotonic() < deadline, remaining(folder)
        time.sleep(0.05)


def test_all_hosts_prepare_then_train_and_the_first_goes_on(start, tmp_path):
    run = start("hosts.txt", "2", "mine.yaml", "train.epochs=3", ROOT="runs/%h", RUN="echo hello")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    assert output.count("[127.0.0.1] hello") == 2
    assert output.count("[127.0.0.2] hello") == 2
    hosts = "127.0.0.1:2222,127.0.0.2:7000"
    common = [
        f"{index} of {hosts}: -m pipeline run --config {tmp_path}/mine.yaml --data-dir "
        f"{tmp_path}/data --root {tmp_path}/runs/127.0.0.{index + 1} --set=train.workers=4 "
        "--set=train.epochs=3"
        for index in (0, 1)
    ]
    assert sorted(calls(tmp_path)[:2]) == [f"{line} --to=CocoTransform" for line in common]
    follower = "--from=DetectionTrainer --to=DetectionTrainer --no-cache"
    assert sorted(calls(tmp_path)[2:]) == [common[0], f"{common[1]} {follower}"]


def test_quiet_hosts_say_results_and_troubles(start, tmp_path):
    run = start("hosts.txt", "1", "mine.yaml", "--quiet", RUN="echo pushed")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    assert sorted(output.splitlines()) == [
        *["[127.0.0.1] pushed"] * 2,
        *["[127.0.0.2] pushed"] * 2,
    ]
    assert [call.endswith(" --quiet") for call in calls(tmp_path)] == [True] * 4


def test_hosts_are_told_as_json(start):
    fails = "if [ $TFX_RCNN_HOST_INDEX = 1 ]; then exit 3; fi"
    run = start("hosts.txt", "1", "mine.yaml", "--json-logs", RUN=f"echo hello; {fails}")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 3, output
    said = [json.loads(line) for line in output.splitlines()]
    found = {(one["event"], one.get("host"), one["text"]) for one in said}
    assert ("progress", None, "examples on 127.0.0.1, 127.0.0.2") in found
    assert ("log", "127.0.0.2", "[127.0.0.2] hello") in found
    ended = "[127.0.0.2] ended with status 3: ending all"
    assert ("error", "127.0.0.2", ended) in found


@pytest.mark.parametrize(
    ("weights", "given"), [("w.npz", ['model.weights="{}/w.npz"']), ("imagenet", []), ("null", [])]
)
def test_hosts_find_the_weights_of_the_callers_folder(start, tmp_path, weights, given):
    backbone = "mobilenet_v2" if weights == "imagenet" else "resnet50"
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\nmodel: {{weights: {weights}, backbone: {{name: {backbone}}}}}\n"
    )
    output, _ = start("hosts.txt", "1", "mine.yaml").communicate(timeout=60)
    settings = [re.findall(r"--set=(model\.weights\S*)", call) for call in calls(tmp_path)]
    assert settings == [[text.format(tmp_path) for text in given]] * 4, output


# Notes that it is there when it can take a SIGTERM.
STOPS_WELL = "trap 'echo stopped well; exit 0' TERM; echo ready >>$LOG; sleep 60 & wait"


def test_a_failing_host_ends_all_with_its_status(start, tmp_path):
    fails = "until grep -q ready $LOG; do sleep 0.05; done; exit 3"
    run = start(
        "hosts.txt", "1", "mine.yaml",
        RUN=f"if [ $TFX_RCNN_HOST_INDEX = 1 ]; then {fails}; fi; {STOPS_WELL}",
    )  # fmt: skip
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 3
    assert "[127.0.0.2] ended with status 3: ending all" in output
    assert "[127.0.0.1] stopped well" in output
    assert len(calls(tmp_path)) == 3  # two hosts, one of them ready; nobody trained


def test_a_host_that_ssh_does_not_reach_ends_all(start, tmp_path):
    (tmp_path / "hosts.txt").write_text("127.0.0.2\n10.0.0.9\n")
    run = start("hosts.txt", "1", "mine.yaml", RUN="exec sleep 60")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 255
    assert "[10.0.0.9] ended with status 255: ending all" in output
    wait_until_gone(tmp_path)


def test_ctrl_c_lets_all_hosts_end_well(start, tmp_path):
    run = start("hosts.txt", "1", "mine.yaml", RUN=STOPS_WELL)
    wait_for_calls(tmp_path, 4)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert output.count("stopped well") == 2
    assert "run the same again to go on" in output


def test_hosts_end_when_this_one_is_killed(start, tmp_path):
    run = start("hosts.txt", "1", "mine.yaml", RUN="exec sleep 60")
    wait_for_calls(tmp_path, 2)
    run.kill()
    run.communicate()
    wait_until_gone(tmp_path)


def test_the_first_host_decides_when_the_work_is_done(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(multi_node, "_SECONDS_TO_FOLLOW", 0.1)
    first, second = Host("a", "a:1"), Host("b", "b:1")
    ssh = ["sh", "-c", 'exec sh -c "$1"']
    processes = HostProcesses(ssh, {first: "echo done", second: "read line; exit 7"})
    assert processes.wait(leader=first) == 0
    assert "[a] done" in capfd.readouterr().out


def test_a_command_that_will_not_stop_is_killed_with_what_it_started(tmp_path):
    command = ["sh", "-c", "trap : TERM; echo ready; while :; do sleep 9; done"]
    program = f"import sys; from pipeline.hosts.on_host import main; sys.exit(main({command}, 0.3))"
    run = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(multi_node.__file__).parents[2],
        env={**os.environ, "LOG": str(tmp_path / "log")},
    )  # fmt: skip
    assert run.stdout.readline() == "ready\n"
    run.communicate(timeout=20)
    assert run.returncode == 128 + signal.SIGKILL
    wait_until_gone(tmp_path)


def test_hosts_are_read_line_by_line(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# two\nec2-user@10.0.0.1\n\n  node-b:7000 # comment\n")
    assert read_hosts(path) == [
        Host("ec2-user@10.0.0.1", "10.0.0.1:2222"),
        Host("node-b", "node-b:7000"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb c\n", r"line 2: expected \[USER@\]NAME\[:PORT\], got 'b c'"),
        ("a:http\n", r"line 1: .*got 'a:http'"),
        ("user@\n", r"line 1: .*got 'user@'"),
        ("# nothing\n", "names no host"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_hosts(tmp_path / "hosts")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.txt", "8", "mine.yaml"), "error: none.txt: No such file or directory"),
        (("hosts.txt", "0", "mine.yaml"), "error: Invalid value for 'GPUS_PER_NODE'"),
        (("hosts.txt", "8", "none.yaml"), "none.yaml: no such config file"),
        (("same.txt", "2", "mine.yaml"), "error: same.txt: two workers would listen on a:2223"),
    ],
)
def test_wrong_arguments_end_with_status_two(start, tmp_path, arguments, message):
    (tmp_path / "same.txt").write_text("a:2222\na:2223\n")
    run = start(*arguments)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 2
    assert message in output
    assert len(output.splitlines()) == 1


@pytest.mark.e2e
@pytest.mark.slow
def test_two_hosts_train_the_tiny_config(start, repo, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pipeline", "shapes", "--out", str(tmp_path / "data"),
         "--train", "12", "--val", "6", "--size", "96"], cwd=repo, check=True,
    )  # fmt: skip
    ports = free_ports(2)
    (tmp_path / "hosts.txt").write_text(f"127.0.0.1:{ports[0]}\n127.0.0.2:{ports[1]}\n")
    ssh = write_program(tmp_path / "ssh", '#!/bin/sh\nexec sh -c "$2"\n')
    run = start(
        "hosts.txt", "1", str(repo / "configs/tiny.yaml"),
        SSH=ssh, PYTHON=sys.executable, ROOT="runs/%h", CUDA_VISIBLE_DEVICES="",
        TMPDIR=str(tmp_path),
    )  # fmt: skip
    output, _ = run.communicate(timeout=500)
    assert run.returncode == 0, output
    first, second = (tmp_path / "runs" / f"127.0.0.{i}" for i in (1, 2))
    summary = json.loads((first / "summary.json").read_text())
    assert summary["blessed"]
    assert Path(summary["pushed_model"]).is_dir()
    assert list(first.glob("checkpoints/*/step-*.safetensors"))
    assert not list(second.glob("checkpoints/*/step-*.safetensors"))
    assert not list(second.glob("serving/*"))
    logs = [p.read_text() for p in first.glob("artifacts/DetectionTrainer/run/*/logs/worker-0.log")]
    assert re.search(r"starts: batch 2x2 \(workers x pictures\)", logs[0])
