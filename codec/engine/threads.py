"""How many threads one call of an engine may use; imports neither NumPy nor an engine."""

from __future__ import annotations

import os


def thread_count() -> int:
    """What OMP_NUM_THREADS says, or the number of processors that this process may run on."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if first.isdecimal() and int(first) > 0:
        return int(first)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
