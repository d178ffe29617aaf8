"""The quick look at a data folder, and the digest that makes a changed picture seen."""

import os
from pathlib import Path

import pytest

from configs.schema import DataConfig
from ground.errors import DatasetError
from pipeline.data_folder import check_data_folder, data_names, pictures_digest

DATA = DataConfig(
    train_annotations="annotations/train.json",
    train_pictures="train",
    eval_annotations="annotations/val.json",
    eval_pictures="val",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("annotations", "train", "val/inner"):
        (tmp_path / name).mkdir(parents=True)
    for split in ("train", "val"):
        (tmp_path / f"annotations/{split}.json").write_text('{"images": []}\n')
    (tmp_path / "train/1.jpg").write_bytes(b"one")
    (tmp_path / "val/inner/2.jpg").write_bytes(b"two")
    return tmp_path


def test_whole_folder_passes(folder: Path) -> None:
    check_data_folder(DATA, folder)


def test_missing_folder_is_named(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"--data-dir .*nowhere: no such folder"):
        check_data_folder(DATA, folder / "nowhere")


def test_missing_annotations_name_what_is_there_and_the_setting(folder: Path) -> None:
    (folder / "annotations/val.json").rename(folder / "annotations/validation.json")
    said = r"val\.json: no such annotation file \(there: annotations/train\.json, "
    with pytest.raises(DatasetError, match=said + r".*--set data\.eval_annotations="):
        check_data_folder(DATA, folder)


def test_missing_pictures_name_the_setting(folder: Path) -> None:
    (folder / "train").rename(folder / "training")
    with pytest.raises(DatasetError, match=r"no such picture folder.*--set data\.train_pictures="):
        check_data_folder(DATA, folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"images": [{"id": 1', "cut off after 20 bytes"),
        ("", "is empty"),
        ("<html></html>", "is no COCO JSON file"),
        ('{"images": [],' + " " * 9000, "cut off"),
    ],
)
def test_broken_annotations_are_seen(folder: Path, content: str, said: str) -> None:
    (folder / "annotations/train.json").write_text(content)
    with pytest.raises(DatasetError, match=said):
        check_data_folder(DATA, folder)


def test_annotations_with_a_byte_order_mark_pass(folder: Path) -> None:
    (folder / "annotations/train.json").write_bytes(b'\xef\xbb\xbf{"images": []}')
    check_data_folder(DATA, folder)


ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("blanks", [0, 3001])
def test_annotations_in_another_unicode_form_pass(folder: Path, encoding: str, blanks: int) -> None:
    text = '{"images": [' + " " * blanks + "]}\r\n"
    (folder / "annotations/train.json").write_bytes(text.encode(encoding))
    check_data_folder(DATA, folder)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_annotations_in_another_unicode_form_are_seen_to_be_broken(
    folder: Path, encoding: str
) -> None:
    path = folder / "annotations/train.json"
    for content, said in (
        ('{"images": [], "a": "é'.encode(encoding), "cut off after"),
        ('{"images": []}'.encode(encoding)[:-1], "cut off after"),
        ("<html></html>".encode(encoding), r"\(it starts with '<html>"),
    ):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=said):
            check_data_folder(DATA, folder)


def _touched(path: Path) -> None:
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "train/1.jpg").write_bytes(b"other size"),
        lambda folder: _touched(folder / "val/inner/2.jpg"),
        lambda folder: (folder / "train/3.jpg").write_bytes(b"new"),
        lambda folder: (folder / "train/1.jpg").unlink(),
        lambda folder: (folder / "annotations/val.json").write_text('{"images": [] }'),
    ],
)
def test_digest_sees_every_change(folder: Path, change) -> None:
    before = pictures_digest(DATA, folder)
    change(folder)
    assert pictures_digest(DATA, folder) != before


def test_digest_is_the_same_for_the_same_folder_elsewhere(folder: Path) -> None:
    before = pictures_digest(DATA, folder)
    moved = folder.rename(folder.with_name("moved"))
    _touched(moved / "annotations/val.json")
    assert pictures_digest(DATA, moved) == before


def test_links_that_loop_or_lead_nowhere_are_passed_over(folder: Path) -> None:
    before = pictures_digest(DATA, folder)
    (folder / "train/again").symlink_to(folder / "train")
    (folder / "val/inner/up").symlink_to(folder)
    (folder / "train/itself").symlink_to("itself")
    (folder / "train/nowhere").symlink_to(folder / "absent")
    looped = pictures_digest(DATA, folder)
    (folder / "train/1.jpg").write_bytes(b"another")
    assert len({before, looped, pictures_digest(DATA, folder)}) == 3


def test_pictures_behind_a_link_count(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "train/linked").symlink_to(elsewhere)
    before = pictures_digest(DATA, folder)
    (elsewhere / "3.jpg").write_bytes(b"three")
    assert pictures_digest(DATA, folder) != before


def test_one_file_for_both_splits_is_looked_at_and_counts_once(folder: Path) -> None:
    data = DataConfig.model_validate(
        {
            "annotations": "annotations/train.json",
            "pictures": "train",
            "split": {"train": 0.9, "eval": 0.1},
        }
    )
    (folder / "annotations/val.json").unlink()
    check_data_folder(data, folder)
    assert data_names(data) == ["annotations/train.json", "train"]
    before = pictures_digest(data, folder)
    (folder / "val/inner/2.jpg").unlink()
    assert pictures_digest(data, folder) == before
    (folder / "train/1.jpg").write_bytes(b"other")
    assert pictures_digest(data, folder) != before
    (folder / "annotations/train.json").unlink()
    with pytest.raises(DatasetError, match=r"--set data\.annotations="):
        check_data_folder(data, folder)


def test_every_source_is_looked_at_and_counts(folder: Path) -> None:
    data = DataConfig.model_validate(
        {
            "sources": [
                {"annotations": f"annotations/{name}.json", "pictures": name}
                for name in ("train", "val")
            ],
            "split": {"train": 0.9, "eval": 0.1},
        }
    )
    check_data_folder(data, folder)
    both = ["annotations/train.json", "annotations/val.json", "train", "val"]
    assert data_names(data) == both
    before = pictures_digest(data, folder)
    (folder / "val/inner/2.jpg").write_bytes(b"another")
    changed = pictures_digest(data, folder)
    assert changed != before
    (folder / "annotations/val.json").write_text('{"images": [] }')
    assert pictures_digest(data, folder) != changed
    (folder / "annotations/val.json").unlink()
    with pytest.raises(DatasetError, match=r"val\.json: no such .*--set data\.sources="):
        check_data_folder(data, folder)
