"""How many threads one call of an engine may use; imports neither NumPy nor an engine."""

from __future__ import annotations

import os


def thread_count() -> int:
    """What OMP_NUM_THREADS says, but at most as many as there are processors; without it those that
    this process may run on."""
    present = os.cpu_count() or 1
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if first.isdecimal() and int(first) > 0:
        return min(int(first), present)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else present
