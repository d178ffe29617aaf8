"""The page as a folder that opens without a server: on another machine, or from an archive."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ground.progress import OnProgress, Progress
from model.encoded.flaw import PictureFlaw
from pipeline.look.album import Album, ShownPicture
from pipeline.look.parts import part, part_names
from pipeline.look.picture_files import JPEG_TYPE, Shown, thumbnail, whole
from pipeline.look.server import PAGE_FILES, page_file

WRITTEN = (*PAGE_FILES, "data", "pictures", "thumbs")
_LONG_SIDE_PX = 1600
_MOST_BYTES = 1_000_000
_THREADS = 4


def write_static(album: Album, out: Path, on_progress: OnProgress | None) -> int:
    """Writes an album into an empty folder; returns how many pictures cannot be shown.

    Pictures are copied where they are small, else they become JPEGs of at most 1,600 pixels.

    Args:
        album: what is shown.
        out: the folder.
        on_progress: called with a line now and then; None says nothing.
    """
    for name in PAGE_FILES:
        (out / name).write_bytes(page_file(name))
    for folder in ("data", "pictures", "thumbs"):
        (out / folder).mkdir()
    for name in part_names(album):
        (out / "data" / name).write_bytes(part(album, name))
    missing = 0
    progress = Progress("writing", len(album.pictures), on_progress)
    with ThreadPoolExecutor(_THREADS) as pool:
        numbers = range(len(album.pictures))
        written = pool.map(lambda n: _write_picture(album.pictures[n], n, out), numbers)
        for is_written in written:
            missing += not is_written
            progress.advance()
    return missing


def _write_picture(picture: ShownPicture, number: int, out: Path) -> bool:
    if picture.file is None:
        return False
    try:
        (out / "thumbs" / f"{number}.jpg").write_bytes(thumbnail(picture).content)
        (out / "pictures" / f"{number}.jpg").write_bytes(_light(picture).content)
    except PictureFlaw:  # the page says so at the picture
        return False
    return True


def _light(picture: ShownPicture) -> Shown:
    """Returns a picture as a JPEG that is not heavy."""
    shown = whole(picture)
    is_light = shown.media_type == JPEG_TYPE and len(shown.content) <= _MOST_BYTES
    return shown if is_light else thumbnail(picture, _LONG_SIDE_PX)
