"""Bodies that clients send compressed, as TensorFlow Serving takes them."""

import zlib

from model.serving.errors import RequestError

_GZIP = 16 + zlib.MAX_WBITS


def unzipped(content: bytes, limit: int) -> bytes:
    """Returns the content of gzip; no more than the limit is ever held.

    Args:
        content: a gzip file's bytes.
        limit: largest size of what is in it, bytes.

    Raises:
        RequestError: it is no whole gzip file, or too large.
    """
    reader = zlib.decompressobj(_GZIP)
    try:
        plain = reader.decompress(content, limit + 1)
    except zlib.error as error:
        raise RequestError(f"the body is not gzip, as its Content-Encoding says: {error}") from None
    if len(plain) > limit:
        raise RequestError(f"the body exceeds the limit of {limit} bytes", 413)
    if not reader.eof or reader.unused_data:
        raise RequestError("the body is not one whole gzip file, as its Content-Encoding says")
    return plain
