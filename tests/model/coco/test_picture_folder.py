"""Pictures by path and by file:// address: the same files, flaws and words, and no others."""

import contextlib
import os
from pathlib import Path

import pytest

from model.coco.picture_folder import open_pictures
from model.coco.policies import Judge, LeftOut, resolve_policies
from model.encoded.flaw import PictureFlaw

INSIDE = ("a.jpg", "in.jpg", "d%20e.jpg", "sub/b.jpg")
OUTSIDE = ("out.jpg", "away/s.jpg", "../secret/s.jpg")
NONE = ("none.jpg", "x\0.jpg", "pipe.jpg", "sub", "nowhere.jpg", ".")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an escape in its name, links within and out of it, and a pipe."""
    folder = tmp_path / "pics%20x"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/s.jpg").write_bytes(b"secret")
    for name in ("a.jpg", "d%20e.jpg", "sub/b.jpg"):
        (folder / name).write_bytes(name.encode())
    (folder / "in.jpg").symlink_to("sub/b.jpg")
    (folder / "out.jpg").symlink_to("../secret/s.jpg")
    (folder / "away").symlink_to("../secret")
    (folder / "nowhere.jpg").symlink_to("absent.jpg")
    os.mkfifo(folder / "pipe.jpg")
    return folder


def outcome(place: Path | str, name: str) -> tuple[bytes | None, list[tuple[str, str]]]:
    """Returns a picture's bytes, if it has any, and what was said of it."""
    judge, said = Judge(resolve_policies({})), []
    with contextlib.closing(open_pictures(place, "")) as pictures:
        pictures.expect([name])
        try:
            content = pictures.content(name, judge)
        except LeftOut:
            content = None
        except PictureFlaw as flaw:
            content, said = None, [(flaw.code, flaw.detail)]
    return content, [(flaw.code, flaw.detail) for flaw in judge.flaws] + said


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_a_link_out_of_the_folder_gives_no_picture(folder: Path, scheme: str) -> None:
    for name in OUTSIDE:
        content, [(code, detail)] = outcome(f"{scheme}{folder}" if scheme else folder, name)
        assert (content, code) == (None, "path_outside_folder")
        secret = folder.parent / "secret/s.jpg"
        assert detail == f"{scheme}{folder}/{name} leads out of the folder to {scheme}{secret}"


@pytest.mark.parametrize("name", [*INSIDE, *NONE])
def test_an_address_of_a_disk_is_as_its_path(folder: Path, name: str) -> None:
    content, said = outcome(folder, name)
    assert (content is not None) == (name in INSIDE)
    assert bool(said) == (name in NONE)
    with_addresses = [(c, d.replace(str(folder), f"file://{folder}")) for c, d in said]
    assert outcome(f"file://{folder}", name) == (content, with_addresses)
