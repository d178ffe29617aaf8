"""What this code is: its version, and which state of the sources."""

import hashlib
import os
import subprocess

from ground.source_digest import OWN_PACKAGES, SOURCE_ROOT

VERSION = "0.1.0"  # setup.py reads it
REVISION_VARIABLE = "TFX_RCNN_REVISION"  # of an image, whose sources come without git


def revision() -> str:
    """Returns git's short name of the sources, with `+` where they were changed since.

    Where git does not know them: what the image says, else a digest of the files.
    """
    if (SOURCE_ROOT / ".git").exists() and (commit := _git("rev-parse", "--short=12", "HEAD")):
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    return os.environ.get(REVISION_VARIABLE) or f"sources {_digest()}"


def _git(*arguments: str) -> str:
    """Returns what git answers about the sources, "" where it cannot."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(SOURCE_ROOT), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""  # no git, or a folder that it does not trust
    return answer.stdout.strip()


def _digest() -> str:
    digest = hashlib.sha256()
    for package in OWN_PACKAGES:
        for path in sorted((SOURCE_ROOT / package).rglob("*.py")):
            digest.update(path.relative_to(SOURCE_ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
