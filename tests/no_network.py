"""Runs a command where there is no network but the machine itself: `python -m tests.no_network`.

    python -m tests.no_network COMMAND ARGUMENT...

The exit status is the command's; CANNOT where the kernel does not permit an empty network.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys

CANNOT = 77
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1  # linux/sockios.h, linux/if.h


def enter_empty_network() -> None:
    """Moves this process into a network of its own, which has the loopback interface only.

    Raises:
        OSError: the kernel does not permit it.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _CLONE_NEWNET if user == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if user != 0:
        lines = {
            "setgroups": "deny",
            "uid_map": f"{user} {user} 1",
            "gid_map": f"{group} {group} 1",
        }
        for file, line in lines.items():
            with open(f"/proc/self/{file}", "w", encoding="ascii") as stream:
                stream.write(line)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


if __name__ == "__main__":
    try:
        enter_empty_network()
    except OSError as error:
        print(f"no empty network: {error}", file=sys.stderr)
        sys.exit(CANNOT)
    os.execvp(sys.argv[1], sys.argv[1:])
