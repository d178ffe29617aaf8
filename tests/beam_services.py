"""Beam's own job service and a pool of workers, in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from tests.free_ports import free_ports

_SECONDS_TO_START = 120


@contextmanager
def beam_services(folder: Path) -> Iterator[list[str]]:
    """Starts both in a folder; yields the arguments of a pipeline that is to run on them."""
    folder.mkdir(parents=True, exist_ok=True)
    # The pool starts its workers as `python`.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    port_file, pool_port = folder / "port", free_ports(1)[0]
    commands = [
        ["runners.portability.local_job_service_main", "--port_file", str(port_file)],
        ["runners.worker.worker_pool_main", "--service_port", str(pool_port)],
    ]
    processes = []
    with open(folder / "services.log", "wb") as log:
        for module, *arguments in commands:
            command = [sys.executable, "-m", f"apache_beam.{module}", *arguments]
            processes.append(
                subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            )
        try:
            until = monotonic() + _SECONDS_TO_START
            while not port_file.exists():
                assert monotonic() < until, (folder / "services.log").read_text()
                sleep(0.1)
            yield [
                "--runner=PortableRunner",
                f"--job_endpoint=localhost:{port_file.read_text()}",
                "--environment_type=EXTERNAL",
                f"--environment_config=localhost:{pool_port}",
            ]
        finally:
            for process in processes:
                process.terminate()
                process.wait(60)
