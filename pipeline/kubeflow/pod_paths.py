"""Where KFP's launcher keeps an artifact on the disk of the task's pod.

The launcher downloads inputs to and uploads outputs from `/gcs`, `/minio` and `/s3`
(backend/src/v2/component/launcher_v2.go, `LocalPathForURI`, the same from KFP 2.0 to 2.17). The
addresses that it hands over are those of the store.
"""

import os
from collections.abc import Mapping

from ground.files import file_digest
from ground.source_digest import SOURCE_ROOT

# A file of ours, wherever the image has our packages: `package:<path>#<start of its digest>`. The
# digest is for KFP's cache, which knows the text of a parameter and not what a file holds.
_PACKAGE = "package:"
_DIGITS = 12

# Where these folders lie, other than `/`: for a pod that is played on a machine of its own.
POD_ROOT_VARIABLE = "TFX_RCNN_POD_ROOT"

FOLDERS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}


def pod_root(environ: Mapping[str, str] = os.environ) -> str:
    """Returns the folder that `/gcs`, `/minio` and `/s3` lie in, without a `/` at the end."""
    return environ.get(POD_ROOT_VARIABLE, "").rstrip("/")


def local_path(uri: str, root: str = "") -> str | None:
    """Returns the launcher's folder for an address; None for one that it does not know.

    >>> local_path("minio://bucket/a/b"), local_path("/data/a")
    ('/minio/bucket/a/b', None)
    """
    for scheme, folder in FOLDERS.items():
        if uri.startswith(scheme):
            return f"{root}{folder}{uri.removeprefix(scheme)}"
    return None


def address_of(path: str, root: str = "") -> str | None:
    """Returns the address that a path in one of the launcher's folders stands for.

    >>> address_of("/minio/bucket/a/b"), address_of("/data/a")
    ('minio://bucket/a/b', None)
    """
    for scheme, folder in FOLDERS.items():
        if path.startswith(root + folder):
            return scheme + path.removeprefix(root + folder)
    return None


def own_file(path: str) -> str:
    """Returns the address of a file of our packages, relative to where they lie."""
    return f"{_PACKAGE}{path}#{file_digest(SOURCE_ROOT / path)[:_DIGITS]}"


def own_file_path(address: str) -> str | None:
    """Returns the path of `own_file`'s address here; None for another text."""
    if not address.startswith(_PACKAGE):
        return None
    return str(SOURCE_ROOT / address.removeprefix(_PACKAGE).partition("#")[0])
