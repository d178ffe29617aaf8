"""A copy of what scripts/setup.sh reads, with stand-ins for Pythons, uv and the C library."""

import os
import re
import shutil
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
TOOLS = [
    "bash",
    "cat",
    "dirname",
    "env",
    "flock",
    "grep",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "sha256sum",
    "tail",
]
FAILS = '#!/bin/sh\necho "pyenv: python3.10: command not found" >&2\nexit 127\n'
# Stands in for a Python of a version: answers what setup.sh asks one.
RUNS_AS = """#!/bin/sh
case "$*" in
  "-m pip"*) exit 1 ;;
  *Python.h*) echo "$NO_HEADERS" ;;
  *sys.version_info*) echo VERSION ;;
  "-I - "*) case " $* " in *" VERSION "*) echo "$0" ;; *) exit 1 ;; esac ;;
esac
"""
# Stands in for uv: notes its arguments, makes what `uv venv` makes, fails where told to.
UV = """#!/bin/sh
echo "$@" >>"$UV_LOG"
case "$*" in
  *"$UV_FAILS_ON"*) echo "$UV_SAYS" >&2; exit 2 ;;
  venv*)
    while [ $# -gt 1 ]; do
      if [ "$1" = --python ]; then python=$2; fi
      shift
    done
    mkdir -p "$1/bin"
    cp "$(command -v "$python" || command -v "python$python")" "$1/bin/python" ;;
esac
"""


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def write_python(folder: Path, version: str, name: str = "") -> Path:
    return write_program(folder / (name or f"python{version}"), RUNS_AS.replace("VERSION", version))


def write_glibc(folder: Path, version: str) -> None:
    write_program(folder / "getconf", f"#!/bin/sh\necho glibc {version}\n")


def write_machine(folder: Path, system: str = "Linux", machine: str = "x86_64") -> None:
    text = f"#!/bin/sh\ncase $1 in -s) echo {system} ;; -m) echo {machine} ;; esac\n"
    write_program(folder / "uname", text)


def write_free_space(folder: Path, gigabytes: int) -> None:
    row = f"/dev/sda1 999999999 1 {gigabytes * 1024 * 1024} 1% /"
    write_program(folder / "df", f"#!/bin/sh\necho Filesystem 1024-blocks\necho {row}\n")


def make_tools(folder: Path) -> Path:
    """Makes a folder with the few system programs that the script calls, and no Python."""
    folder.mkdir()
    for name in [*TOOLS, "cp", "sh"]:
        program = shutil.which(name)
        assert program, f"this machine has no {name}"
        (folder / name).symlink_to(program)
    write_glibc(folder, "2.36")
    write_machine(folder)
    write_free_space(folder, 100)
    write_program(folder / "c++", "#!/bin/sh\n")
    return folder


def copy_script(folder: Path) -> Path:
    """Copies the script to where no .venv is, which may have choices of its own."""
    (folder / "scripts").mkdir(exist_ok=True)
    return Path(shutil.copy(REPO / "scripts/setup.sh", folder / "scripts"))


def run_setup(script: Path, *arguments: str, path: list[Path], **variables: str):
    return subprocess.run(
        ["bash", str(script), *arguments],
        env={
            "PATH": os.pathsep.join(map(str, path)),
            "HOME": "/nonexistent",
            "PYENV_ROOT": "/nonexistent",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


class Checkout:
    """A copy of the files that set-up reads, with stand-ins for uv, Python 3.10 and glibc 2.36."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.root = folder / "checkout"
        self.log = folder / "uv.log"
        self.tools = tools
        self.path = [folder / "fakes", tools]
        self.python = write_python(folder / "fakes", "3.10")
        write_program(folder / "fakes/uv", UV)
        (self.root / "scripts").mkdir(parents=True)
        for name in ["scripts/setup.sh", "setup.py"]:
            shutil.copy(REPO / name, self.root / name)
        shutil.copytree(REPO / "requirements", self.root / "requirements")

    def setup(self, uv_fails_on: str = "no step", **variables: str):
        """Runs the script; returns its result and what it asked of uv, shortened."""
        self.log.write_text("")
        result = run_setup(
            self.root / "scripts/setup.sh",
            path=self.path,
            UV_LOG=str(self.log),
            UV_FAILS_ON=uv_fails_on,
            **variables,
        )
        calls = [
            " ".join(line.split()[: 1 if line.startswith("venv") else 2])
            for line in self.log.read_text().splitlines()
            if line != "--version"
        ]
        return result, calls

    def locks(self) -> list[str]:
        """Returns the names of the locks that uv was last asked to install."""
        return re.findall(r"requirements/(\S+)", self.log.read_text())
