"""scripts/test_modern.sh with stand-ins for debootstrap and chroot: what it leaves, and when."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

# Makes what the script mounts on and writes to, for a system: `debootstrap ... trixie ROOT`.
DEBOOTSTRAP = """#!/bin/sh
while [ "$1" != trixie ]; do shift; done
mkdir -p "$2/proc" "$2/sys" "$2/dev" "$2/etc" "$2/usr/local/share"
test -z "$DEBOOTSTRAP_FAILS" || { echo "E: no mirror"; exit 1; }
"""
CHROOT = """#!/bin/sh
case "$*" in
  *update-ca-certificates) exit 0 ;;
  *env*) root=$1; ls "$root/srv/tfx-rcnn" >"$NOTES"; mount >>"$NOTES"
    grep SigIgn /proc/self/status >>"$NOTES" ;;
esac
if [ -n "$MAKE_FAILS_AT" ]; then for last; do :; done; exec bash -ec "$last"; fi
echo $$ >"$NOTES.pid"
exec sleep "$CHROOT_SECONDS"
"""
MAKE = """#!/bin/sh
echo "$1" >>"$NOTES.made"
test "$1" != "$MAKE_FAILS_AT"
"""


def is_permitted() -> bool:
    command = ["unshare", "--mount", "--pid", "--fork", "true"]
    return os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not is_permitted(), reason="needs root and namespaces of its own")


@pytest.fixture
def start(tmp_path: Path, repo: Path):
    """Starts the script with a root in `tmp_path`; what still runs is ended afterwards."""
    for name, text in {"debootstrap": DEBOOTSTRAP, "chroot": CHROOT, "make": MAKE}.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    started = []

    def start(**variables: str) -> subprocess.Popen:
        environment = {
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "TFX_RCNN_ROOT": str(tmp_path / "trixie"),
            "NOTES": str(tmp_path / "notes"),
            "CHROOT_SECONDS": "0",
            **variables,
        }
        # A shell cannot trap what was ignored when it was started, as SIGHUP is under nohup.
        command = ["env", "--default-signal", str(repo / "scripts/test_modern.sh")]
        started.append(
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def mounts_below(folder: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]


def test_the_checkout_is_there_and_nothing_is_left(start, tmp_path: Path) -> None:
    process = start()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    notes = (tmp_path / "notes").read_text()
    assert {"Makefile", "configs", "scripts"} <= set(notes.split())
    assert f"{tmp_path}/trixie/proc" in notes
    ignored = int(notes.split("SigIgn:")[1].split()[0], 16)
    for number in (signal.SIGINT, signal.SIGQUIT):  # tests of Ctrl-C would wait for ever
        assert not ignored >> (number - 1) & 1
    assert not (tmp_path / "trixie").exists()
    assert mounts_below(tmp_path) == []


@pytest.mark.parametrize(("failing", "made"), [("test", ["test"]), ("demo", ["test", "demo"])])
def test_the_first_that_fails_in_the_root_ends_it(
    start, tmp_path: Path, failing: str, made: list[str]
) -> None:
    process = start(MAKE_FAILS_AT=failing)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert (tmp_path / "notes.made").read_text().split() == made


def test_a_root_that_cannot_be_made_is_removed(start, tmp_path: Path) -> None:
    process = start(DEBOOTSTRAP_FAILS="1")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "E: no mirror\ntest-modern: debootstrap failed" in said
    assert not (tmp_path / "trixie").exists()


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGKILL, -9)]
)
def test_an_interrupted_run_leaves_no_process_and_no_mount(
    start, tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    process = start(CHROOT_SECONDS="600")
    deadline = time.monotonic() + 60
    while not (tmp_path / "notes.pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    assert process.wait(timeout=60) == status
    assert mounts_below(tmp_path) == []
    if sent != signal.SIGKILL:
        assert not (tmp_path / "trixie").exists()
        return
    # What a killed one leaves does not hinder the next.
    again = start()
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert not (tmp_path / "trixie").exists()
