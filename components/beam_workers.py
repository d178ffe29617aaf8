"""Has Beam start its worker processes as we start ours (tfx_rcnn.py).

`--direct_running_mode=multi_processing` runs `python -m apache_beam...`, which looks in the working
folder first: a user's `json.py` or `components/` there would be imported for the one that is meant.
"""

import shlex
import sys
from typing import Any

from apache_beam.transforms.environments import SubprocessSDKEnvironment

from tfx_rcnn import command


def start_safely() -> None:
    """Changes the command line that Beam makes for such a worker; again it changes nothing."""
    if getattr(SubprocessSDKEnvironment, "is_ours", False):
        return
    make = SubprocessSDKEnvironment.from_command_string
    unsafe = f"{sys.executable} -m "

    def from_command_string(command_string: str) -> Any:
        if command_string.startswith(unsafe):
            ours = shlex.join(command(*command_string[len(unsafe) :].split()))
            # A terminal's Ctrl-C goes to them too, and it is for the command to end them.
            command_string = f"trap '' INT; exec {ours}"
        return make(command_string)

    SubprocessSDKEnvironment.from_command_string = staticmethod(from_command_string)
    SubprocessSDKEnvironment.is_ours = True
