"""The archive of this checkout that a SageMaker job runs in AWS's own TensorFlow container.

    start.sh             what the container starts: scripts/sagemaker_start.sh
    tfx-rcnn/            the packages, the locks and scripts/setup.sh, which makes .venv of it there

The checkout has a folder of its own, because AWS's toolkit would install a setup.py that it finds
beside the script into its own Python.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

START_SCRIPT = "start.sh"
CHECKOUT = "tfx-rcnn"
_START_SOURCE = "scripts/sagemaker_start.sh"
_FOLDERS = ("ground", "configs", "model", "components", "pipeline", "requirements")
_FILES = (
    "pyproject.toml",
    "scripts/setup.sh",
    "setup.py",
    "tfx_rcnn.py",
)


def source_files(repository: Path) -> list[str]:
    """Returns what a job gets of the checkout, as sorted paths from its root.

    The folders are taken as they lie there, with files that git does not know yet, such as a new
    config; data, runs and .venv lie outside them. Hidden and compiled files stay here.
    """
    return sorted([*_FILES, *(path for name in _FOLDERS for path in _below(repository, name))])


def _below(repository: Path, folder: str) -> Iterator[str]:
    for path in (repository / folder).rglob("*"):
        relative = path.relative_to(repository)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
        if path.is_file() and not hidden:
            yield relative.as_posix()


def source_archive(repository: Path) -> bytes:
    """Returns the archive as .tar.gz: the same bytes for the same files, wherever they are."""
    files = {START_SCRIPT: _START_SOURCE}
    files |= {f"{CHECKOUT}/{name}": name for name in source_files(repository)}
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, source in files.items():
            content = (repository / source).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if PurePosixPath(name).suffix == ".sh" else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
