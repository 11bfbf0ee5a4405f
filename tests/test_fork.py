"""Processes that are forked after their parent has used the codec: pools and preforking servers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers import TINY

TIMEOUT = 120
"""Seconds after which what hangs is ended."""

SETTING = """
import os, signal, sys, multiprocessing
import numpy as np
from codec.codec import Codec

os.register_at_fork(after_in_child=lambda: signal.alarm(60))
codec = Codec(sys.argv[1], engine=sys.argv[2])
efforts = eval(sys.argv[3])
assert codec.model.engine.threads == 2
picture = np.random.default_rng(0).integers(0, 256, (272, 300, 3), dtype="uint8")

def work(effort):
    data = codec.compress(picture, effort=effort, tile_size=256 if effort else 0)
    return len(data), codec.decompress(data).size

expected = [work(effort) for effort in efforts]
"""

FORK = """
readable, writable = os.pipe()
if not os.fork():
    os.write(writable, repr([work(effort) for effort in efforts]).encode())
    os._exit(0)
os.close(writable)
assert eval(os.read(readable, 1000)) == expected
assert os.wait()[1] == 0
"""

END = """
if os.fork():
    assert os.wait()[1] == 0
else:
    assert [work(effort) for effort in efforts] == expected
    del codec  # and end as a program does, where all objects are
"""

PROCESS = """
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=lambda: queue.put([work(effort) for effort in efforts]))
process.start()
assert queue.get() == expected
process.join()
assert process.exitcode == 0
"""

POOL = """
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(work, efforts) == expected
"""

SERVER = """
import socket

listener = socket.create_server(("127.0.0.1", 0))
workers = []
for _ in range(2):  # each takes one connection, whichever comes
    worker = os.fork()
    if not worker:
        connection, _ = listener.accept()
        effort = int(connection.recv(10))
        connection.sendall(repr(work(effort)).encode())
        connection.close()
        os._exit(0)
    workers.append(worker)
assert work(1) == expected[1]  # the parent goes on as before
assert codec.model.engine.threads == 2
for effort, answer in ((0, expected[0]), (efforts[-1], expected[-1])):
    with socket.create_connection(listener.getsockname()) as connection:
        connection.sendall(str(effort).encode())
        assert eval(connection.recv(1000)) == answer
for worker in workers:
    assert os.waitpid(worker, 0)[1] == 0
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("engine", ["onnx", "auto"])
@pytest.mark.parametrize(
    "code",
    [FORK, END, PROCESS, POOL, SERVER],
    ids=["fork", "end", "process", "pool", "server"],
)
def test_forked_processes_code_as_their_parent(code: str, engine: str) -> None:
    efforts = "(0, 1)" if engine == "onnx" else "(0, 1, 2)"
    if engine != "onnx":
        pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SETTING + code, str(TINY), engine, efforts],
        # OpenBLAS's threads wait busily: on a machine that is in use they take minutes.
        env=os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
