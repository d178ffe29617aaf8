"""One run at a time in a root folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ground.errors import FolderInUseError
from pipeline.local.run_folder import RunFolder


def test_second_holder_is_told_which_process_is_at_work(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "a")
    with folder.locked(), pytest.raises(FolderInUseError, match=rf"process {os.getpid()}\b"):
        with RunFolder(folder.root).locked():
            pass
    with RunFolder(folder.root).locked():
        pass


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal, pathlib\n"
        "from pipeline.local.run_folder import RunFolder\n"
        "with RunFolder(pathlib.Path(sys.argv[1])).locked():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    with RunFolder(tmp_path).locked():
        pass
