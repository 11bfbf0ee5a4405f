"""Whole processes: seconds and peak memory of one command, as the kernel counts them.

python scripts/bench/children.py TARGET PROGRAM [ARGUMENT...]

The peak memory of a process starts at that of the process that forked it, so each command is
started by a small process: this file, run as a program. It writes its measurements to TARGET as
JSON and imports little.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import NamedTuple


class Usage(NamedTuple):
    """Resources of a process and its children."""

    wall: float
    """Wall time in seconds."""
    cpu: float
    """User and system time in seconds."""
    peak: float
    """Peak resident memory in MiB."""
    output: str
    """Standard output."""


def measured(command: list[str], threads: int) -> Usage:
    """Run a program with a number of threads.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    import subprocess
    import tempfile
    from pathlib import Path

    from codec.cli.processes import THREAD_VARIABLES

    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    environment["OPENBLAS_NUM_THREADS"] = "1"  # as the commands have it
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "usage.json")
        launcher = [sys.executable, "-S", __file__, str(target)]
        done = subprocess.run(
            [*launcher, *command],
            env=environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        wall, cpu, peak = json.loads(target.read_text())
        return Usage(wall, cpu, peak, done.stdout)


def _launch(target: str, command: list[str]) -> int:
    began = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - began
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts bytes
    found = (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)
    with open(target, "w") as file:  # noqa: PTH123 (pathlib would double this process)
        json.dump(found, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1], sys.argv[2:]))
