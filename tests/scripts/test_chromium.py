"""scripts/chromium.sh with a stand-in for apt: when it installs, and what it says."""

import os
import subprocess
from pathlib import Path

import pytest

APT = """#!/bin/sh
echo "$*" >>"$NOTES"
if test -n "$APT_FAILS"; then echo "E: no way to the mirror"; exit 100; fi
"""
TOOLS = ("bash", "env", "grep", "mktemp", "rm", "tail", "sh")

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the script installs as root")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH on which there is no browser."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    return folder


def start(repo: Path, programs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    variables |= {"PATH": str(programs), "NOTES": str(programs / "notes")}
    command = [str(repo / "scripts/chromium.sh")]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def add(programs: Path, name: str, text: str) -> None:
    (programs / name).write_text(text)
    (programs / name).chmod(0o755)


@is_root
def test_it_installs_what_is_missing(repo: Path, programs: Path) -> None:
    add(programs, "apt-get", APT)
    done = start(repo, programs)
    assert done.returncode == 0 and done.stderr.startswith("chromium: installed")
    last = (programs / "notes").read_text().splitlines()[-1]
    assert last == "-q install --yes --no-install-recommends chromium"


@is_root
@pytest.mark.parametrize(("variables", "status"), [({}, 0), ({"CI": "true"}, 1)])
def test_only_ci_fails_without_it(
    repo: Path, programs: Path, variables: dict[str, str], status: int
) -> None:
    add(programs, "apt-get", APT)
    done = start(repo, programs, APT_FAILS="yes", **variables)
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith("chromium: no Chromium here")
    assert line.endswith("skipped: E: no way to the mirror")


def test_nothing_is_done_where_it_is_or_cannot_be_installed(repo: Path, programs: Path) -> None:
    done = start(repo, programs)
    assert done.returncode == 0 and "takes root and apt" in done.stderr
    add(programs, "chromium", "#!/bin/sh\n")
    done = start(repo, programs)
    assert (done.returncode, done.stderr) == (0, "")
