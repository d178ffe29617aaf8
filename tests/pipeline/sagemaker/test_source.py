"""What a SageMaker job gets of the checkout."""

import io
import os
import tarfile
from pathlib import Path

from pipeline.sagemaker.source import source_archive, source_files


def checkout(root: Path) -> Path:
    """Makes the least that an archive needs; returns `root`."""
    for name in ("pyproject.toml", "setup.py", "tfx_rcnn.py", "requirements/legacy.txt",
                 "scripts/setup.sh", "scripts/sagemaker_start.sh", "configs/own.yaml",
                 "model/a/b.py"):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_the_archive_has_the_code_and_nothing_else(tmp_path):
    root = checkout(tmp_path)
    for name in (".git/config", ".venv/x.py", "data/coco.json", "runs/a.log", "tests/model/t.py",
                 "model/__pycache__/b.pyc", "configs/.own.yaml.swp", "notes.md"):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("stays here")
    with tarfile.open(fileobj=io.BytesIO(source_archive(root))) as archive:
        modes = {entry.name: entry.mode for entry in archive}
        start = archive.extractfile("start.sh").read()
    assert modes == {
        "start.sh": 0o755,
        "tfx-rcnn/configs/own.yaml": 0o644,
        "tfx-rcnn/model/a/b.py": 0o644,
        "tfx-rcnn/pyproject.toml": 0o644,
        "tfx-rcnn/requirements/legacy.txt": 0o644,
        "tfx-rcnn/scripts/setup.sh": 0o755,
        "tfx-rcnn/setup.py": 0o644,
        "tfx-rcnn/tfx_rcnn.py": 0o644,
    }
    assert start == b"scripts/sagemaker_start.sh"


def test_the_same_files_give_the_same_bytes(tmp_path):
    first, second = checkout(tmp_path / "a"), checkout(tmp_path / "b")
    os.utime(second / "setup.py", (0, 0))
    (second / "setup.py").chmod(0o600)
    assert source_archive(first) == source_archive(second)
    (second / "setup.py").write_text("changed")
    assert source_archive(first) != source_archive(second)


def test_what_git_has_of_the_packages_goes_along(repo):
    files = source_files(repo)
    assert files == sorted(files)
    assert {
        "configs/awsdet/base.yaml",
        "components/coco_evaluator/report/report.html.j2",
        "pipeline/sagemaker/entry.py",
        "requirements/legacy-gpu.txt",
        "requirements/modern.txt",
        "scripts/setup.sh",
    } <= set(files)
    assert not [name for name in files if name.endswith(".pyc")]
