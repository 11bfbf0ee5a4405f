"""Sessions of ONNX Runtime: the threads that they run on, and what becomes of them after a fork."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.engine.onnx_graphs import Graph
from codec.engine.threads import thread_count

# Else importing it starts a thread that sends its maker what it is used for, from version 1.29 on,
# and for which a forked process waits forever when it ends.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

VERSION: str = onnxruntime.__version__
"""Version of ONNX Runtime."""
FATAL_ONLY = 4
"""Severity of what ONNX Runtime may print; errors are told by exceptions."""


class Sessions:
    """Sessions of graphs, by the number of threads that they run on; each is made when first used.

    ONNX Runtime's threads belong to a session, and are few: a call from one of several threads at
    once goes to a session with fewer.

    Args:
        graphs: builders of graphs and their models by name.
    """

    def __init__(self, graphs: dict[str, Callable[[], tuple[Graph, bytes]]]) -> None:
        self._graphs = graphs
        self._made: dict[tuple[str, int], onnxruntime.InferenceSession] = {}
        self._making = threading.Lock()
        _ALL.add(self)

    def run(self, name: str, **inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Output of a graph, [1, C, H, W].

        Raises:
            MemoryError: it does not fit the memory.
        """
        key = name, threads()
        session = self._made.get(key)
        if session is None:
            with self._making:
                if key not in self._made:
                    self._made[key] = _session(*self._graphs[name](), threads=key[1])
                session = self._made[key]
        contiguous = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        try:
            output: NDArray[np.float32] = session.run(None, contiguous)[0]
        except Exception as error:
            if "alloc" in str(error):  # ONNX Runtime has one type of error for all that fails
                raise MemoryError(str(error)) from error
            raise
        return output

    def leave(self) -> None:
        """Forget all sessions without ending them: a forked process has none of their threads, and
        would wait for these forever."""
        for session in self._made.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
        self._made = {}
        self._making = threading.Lock()  # another thread of the parent may have held it


_ALL: weakref.WeakSet[Sessions] = weakref.WeakSet()
_LOCAL = threading.local()
"""Has `threads` in the threads of a pool."""


def threads() -> int:
    """Threads that a call of this thread may use."""
    share: int = getattr(_LOCAL, "threads", 0)
    return share or thread_count()


def pool(count: int) -> ThreadPoolExecutor:
    """Threads to run sessions from, which together use as many as one call of this thread would."""
    return ThreadPoolExecutor(count, "tile", _share, (max(1, threads() // count),))


def _share(threads: int) -> None:
    _LOCAL.threads = threads


def _session(graph: Graph, model: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # of a fixed size; sizes change here
    # Threads that wait busily take the processors from the range decoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.tensors.values()]
    options.add_external_initializers(list(graph.tensors), values)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _leave_all() -> None:
    for sessions in list(_ALL):
        sessions.leave()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_all)
