"""Rows about what is installed, against the lane's lock in requirements/."""

import importlib.metadata
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ground.source_digest import SOURCE_ROOT
from model.lanes import LANE
from pipeline.doctor.rows import MAKE_SETUP, Row

_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)\s*(?:;\s*(.*))?")
_PYTHON_MARKER = re.compile(r"python_full_version\s*(<|>=|==)\s*'([\d.]+)(\.\*)?'")
_SHOWN = 5


def packages_rows(
    installed: Mapping[str, str] | None = None,
    folder: Path = SOURCE_ROOT / "requirements",
    lane: str = LANE,
) -> list[Row]:
    """Returns the row of the lane's packages, and that of CUDA's where any of them is there.

    Without TFX they are those of a machine that only trains, whatever the environment says.

    Args:
        installed: version by normalised name; asked of this Python if None.
        folder: folder of the locks.
        lane: whose.
    """
    if installed is None:
        installed = installed_packages()
    name = f"{lane}.txt" if has_pipeline(installed) else f"{lane}-train.txt"
    if not (folder / name).is_file():
        found = f"no lock {folder / name}: cannot be compared"
        return [Row("packages", "warning", found, "run it in the checkout")]
    rows = [_row("packages", folder / name, installed, MAKE_SETUP)]
    gpu_lock = folder / f"{lane}-gpu.txt"
    if gpu_lock.is_file() and installed.keys() & read_lock(gpu_lock).keys():
        rows.append(_row("CUDA packages", gpu_lock, installed, "TFX_RCNN_GPU=yes make setup"))
    return rows


def has_pipeline(installed: Mapping[str, str] | None = None) -> bool:
    """Returns whether TFX is installed, which a machine that only trains does without."""
    return "tfx" in (installed_packages() if installed is None else installed)


def installed_packages() -> dict[str, str]:
    """Returns the version of every package of this Python, by its normalised name."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        name = one.metadata["Name"] if one.metadata else None
        if name:  # a folder that a broken install left has none
            found.setdefault(_normal(name), one.version or "?")
    return found


def read_lock(path: Path) -> dict[str, str]:
    """Returns the versions that a lock pins for this Python, by normalised name."""
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        pin = _PIN.fullmatch(line.split("#")[0].strip())
        if pin and _holds(pin[3] or ""):
            pins[_normal(pin[1])] = pin[2]
    return pins


def _row(check: str, lock: Path, installed: Mapping[str, str], mend: str) -> Row:
    pins = read_lock(lock)
    missing = [name for name in pins if name not in installed]
    others = [
        f"{name} {installed[name]} for {version}"
        for name, version in pins.items()
        if name in installed and installed[name] != version
    ]
    where = f"{lock.parent.name}/{lock.name}"
    if missing:
        found = f"{len(missing)} of {where} are missing: {_some(missing)}"
        return Row(check, "error", found, mend)
    if others:
        found = f"{len(others)} have another version than in {where}: {_some(others)}"
        return Row(check, "warning", found, mend)
    return Row(check, "ok", f"{len(pins)} as in {where}")


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _holds(marker: str) -> bool:
    """Returns whether a lock's marker, which is about the Python alone, holds for this one."""
    found = _PYTHON_MARKER.fullmatch(marker.strip())
    if not found:
        return True
    wanted = tuple(map(int, found[2].split(".")))
    here = sys.version_info[: len(wanted)]
    return {"<": here < wanted, ">=": here >= wanted, "==": here == wanted}[found[1]]
