"""Start a cluster on this machine, or join one."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from codec.errors import ClusterError

LOCAL = "local"
CONNECT_SECONDS = 10.0
STORE_BYTES = 128 << 20
"""Shared memory of a cluster on this machine: names and facts go through it, no pictures."""


@dataclass(frozen=True)
class Cluster:
    """Where work is done, and by how many."""

    address: str
    """`local`, `auto`, or what Ray takes as an address."""
    workers: int | None = None
    """At most so many at once; None for as many as the cluster has room for."""
    cpus: float = 1.0
    gpus: float = 0.0
    """Share of a processor and of a GPU that a worker takes."""


def import_ray() -> Any:
    """The package ray, which tells nobody about its use and prints nothing.

    Raises:
        ClusterError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what it will do anyway
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")  # signals are the caller's
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError("Ray is not installed; pip install 'vqcodec[cluster]'") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray


@contextmanager
def connected(cluster: Cluster) -> Iterator[int]:
    """In here Ray is connected; gives the number of workers that there is room for.

    A connection that the caller has already is used as it is.

    Raises:
        ClusterError: there is no such cluster, or no room in it.
    """
    ray = import_ray()
    own = not ray.is_initialized()
    if own:
        _connect(ray, cluster)
    try:
        yield _room(ray.cluster_resources(), cluster)
    finally:
        if own:
            ray.shutdown()


def _connect(ray: Any, cluster: Cluster) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    # The exact prior's matrices are too small for threads, see `codec.cli.main`.
    threads = {"env_vars": {"OPENBLAS_NUM_THREADS": "1"}}
    if cluster.address == LOCAL:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        options |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
        if cluster.workers:
            options["num_cpus"] = max(1, round(cluster.workers * cluster.cpus))
    else:
        options["runtime_env"] = threads
    try:
        _check_answers(cluster.address)
        with _silent(), _keeping_signals():
            ray.init(address=cluster.address, **options)
    except Exception as error:  # connection, version and configuration errors of several kinds
        told = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        reason = told.splitlines()[0]
        raise ClusterError(f"no Ray cluster at {cluster.address} ({reason})") from error
    # It tells of workers that die on standard output, which is for results.
    ray._private.worker._worker_logs_enabled = False


def _check_answers(address: str) -> None:
    """Ray itself tries for minutes.

    Raises:
        OSError: nobody answers at the address.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


@contextmanager
def _keeping_signals() -> Iterator[None]:
    """What a signal does stays what it was; threads that are not the first set none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)


@contextmanager
def _silent() -> Iterator[None]:
    """Standard error goes nowhere: Ray's core tells there how much it will tell."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _room(resources: dict[str, float], cluster: Cluster) -> int:
    """Number of workers that a cluster has room for; one that grows is asked for more by `-j`."""
    if cluster.workers:
        return cluster.workers
    shares = {"CPU": cluster.cpus, "GPU": cluster.gpus}
    rooms = [resources.get(name, 0) / share for name, share in shares.items() if share]
    room = int(min(rooms, default=1.0))
    if not room:
        have = ", ".join(f"{resources.get(name, 0):g} {name}" for name in shares)
        raise ClusterError(f"the cluster has no room for a worker: {have}")
    return room
