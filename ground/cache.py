"""The folder in which we keep what can be fetched again, of one user on one machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from ground.errors import ConfigError

CACHE_VARIABLE = "TFX_RCNN_CACHE"
_XDG_VARIABLE = "XDG_CACHE_HOME"
_NAME = "tfx-rcnn"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the folder that TFX_RCNN_CACHE names, else that of the desktop's rules.

    https://specifications.freedesktop.org/basedir-spec: $XDG_CACHE_HOME, where it is an absolute
    path, or ~/.cache.

    >>> str(cache_folder({"XDG_CACHE_HOME": "/var/cache/me"}))
    '/var/cache/me/tfx-rcnn'

    Raises:
        ConfigError: nothing says where this user's home is.
    """
    if own := environ.get(CACHE_VARIABLE):
        return Path(os.path.expanduser(own)).absolute()
    shared = environ.get(_XDG_VARIABLE, "")
    if os.path.isabs(shared):
        return Path(shared, _NAME)
    home = environ.get("HOME") or os.path.expanduser("~")
    if not os.path.isabs(home):
        raise ConfigError(f"this user has no home: set {CACHE_VARIABLE} to a folder for weights")
    return Path(home, ".cache", _NAME)
