"""TFRecord files byte by byte, for writers and readers alike; without TensorFlow.

A record is <length uint64><checksum of it><payload><checksum of that>, little-endian.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import google_crc32c

from ground.errors import DatasetError
from ground.files import naming

RECORD_HEADER_BYTES = 12
_FOOTER_BYTES = 4
_MASK_DELTA = 0xA282EAD8


def write_tfrecord(stream: "BinaryIO | DigestingStream", payload: bytes) -> tuple[int, int]:
    """Appends one record and returns where its payload lies: (offset, length) in bytes."""
    length = struct.pack("<Q", len(payload))
    offset = stream.tell() + RECORD_HEADER_BYTES
    stream.write(length + struct.pack("<I", masked_crc32c(length)))
    stream.write(payload)
    stream.write(struct.pack("<I", masked_crc32c(payload)))
    return offset, len(payload)


def read_tfrecord(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Yields (offset of the payload, payload) of each record; both checksums are checked.

    Raises:
        DatasetError: the file is missing, cut off or damaged, with the offset of the record.
    """
    try:
        stream = open(path, "rb")
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    with naming(path), stream:
        size = os.fstat(stream.fileno()).st_size
        start = 0
        while header := stream.read(RECORD_HEADER_BYTES):
            if len(header) < RECORD_HEADER_BYTES:
                raise DatasetError(f"{path}: cut off in the header of the record at byte {start}")
            length, checksum = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != checksum:
                raise DatasetError(f"{path}: damaged length of the record at byte {start}")
            offset = start + RECORD_HEADER_BYTES
            if offset + length + _FOOTER_BYTES > size:
                raise DatasetError(f"{path}: cut off in the record at byte {start}")
            payload = stream.read(length)
            (checksum,) = struct.unpack("<I", stream.read(_FOOTER_BYTES))
            if masked_crc32c(payload) != checksum:
                raise DatasetError(f"{path}: damaged data of the record at byte {start}")
            yield offset, payload
            start = offset + length + _FOOTER_BYTES


def walk_tfrecord(path: str | os.PathLike[str]) -> Iterator[tuple[int, int, int]]:
    """Yields (offset, length, stored checksum) of each payload, none of which is read.

    Raises:
        DatasetError: the file is missing or cut off, or the length of a record is damaged.
    """
    try:
        stream = open(path, "rb", buffering=0)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    with naming(path), stream:
        size = os.fstat(stream.fileno()).st_size
        start = 0
        while start < size:
            header = os.pread(stream.fileno(), RECORD_HEADER_BYTES, start)
            if len(header) < RECORD_HEADER_BYTES:
                raise DatasetError(f"{path}: cut off in the header of the record at byte {start}")
            length, checksum = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != checksum:
                raise DatasetError(f"{path}: damaged length of the record at byte {start}")
            offset = start + RECORD_HEADER_BYTES
            footer = os.pread(stream.fileno(), _FOOTER_BYTES, offset + length)
            if len(footer) < _FOOTER_BYTES:
                raise DatasetError(f"{path}: cut off in the record at byte {start}")
            yield offset, length, struct.unpack("<I", footer)[0]
            start = offset + length + _FOOTER_BYTES


def read_payload(descriptor: int, path: str | os.PathLike[str], offset: int, length: int) -> bytes:
    """Returns the payload that an index says lies at `offset`; its checksum is checked.

    Args:
        descriptor: descriptor of the open file; its position does not matter and stays.
        path: path of the file, for errors.
        offset: offset of the payload, in bytes.
        length: length of the payload.

    Raises:
        DatasetError: the file ends before the record does, or the record is damaged.
    """
    block = os.pread(descriptor, length + _FOOTER_BYTES, offset)
    payload, checksum = block[:length], block[length:]
    if len(checksum) != _FOOTER_BYTES:
        raise DatasetError(_end_within(path, offset + len(block), offset))
    if masked_crc32c(payload) != int.from_bytes(checksum, "little"):
        raise DatasetError(f"{path}: damaged data of the record at byte {offset}")
    return payload


def check_holds(path: str | os.PathLike[str], places: Iterable[tuple[int, int]]) -> None:
    """Checks that a file does not end before one of its records does.

    Args:
        path: path of the file.
        places: offset and length of each payload, as an index says them.

    Raises:
        DatasetError: it does; the first such record is named.
    """
    size = os.path.getsize(path)
    for offset, length in places:
        if offset + length + _FOOTER_BYTES > size:
            raise DatasetError(_end_within(path, size, offset))


def _end_within(path: str | os.PathLike[str], size: int, offset: int) -> str:
    """Returns what is wrong with a file of `size` bytes that ends in the record at `offset`."""
    return f"{path}: ends at byte {size}, within the record at byte {offset}"


class DigestingStream:
    """A binary file opened for writing that knows the SHA-256 of what went through.

    Example:
        >>> import io
        >>> stream = DigestingStream(io.BytesIO())
        >>> write_tfrecord(stream, b"abc")
        (12, 3)
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._digest = hashlib.sha256()

    def tell(self) -> int:
        """Returns the position in bytes."""
        return self._stream.tell()

    def write(self, block: bytes) -> int:
        """Writes `block` and returns its length."""
        self._digest.update(block)
        return self._stream.write(block)

    def sha256(self) -> str:
        """Returns the digest of all that was written, as 64 hex digits."""
        return self._digest.hexdigest()


def masked_crc32c(block: bytes) -> int:
    """Returns TFRecord's checksum: CRC-32C, rotated by 15 bits, plus a constant.

    Reference: tensorflow/core/lib/hash/crc32c.h; the mask keeps the checksum of a string that
        holds checksums from being trivial.
    """
    crc: int = google_crc32c.value(block)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
