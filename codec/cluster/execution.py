"""Any function on any list, in actors of a Ray cluster, one result for each item.

Scheduling, retries and the flow of blocks are Ray Data's. What is added: an item that ends its
worker at every try costs no more than itself. Ray gives up a block after `TRIES` workers have died
of it; those blocks are run once more with one item each.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from codec.cluster.connection import Cluster, connected, import_ray
from codec.errors import ClusterError

T = TypeVar("T")
R = TypeVar("R")

ITEMS = 16
"""Items of a block at most: what is done again when a worker dies."""
BLOCKS_EACH = 8
"""Blocks for each worker at least, so that all end at about the same time."""
TRIES = 2
"""Retries of a block whose worker has died."""


@dataclass(frozen=True)
class Lost:
    """Stands for the result of an item whose worker died at every try, or that raised an error."""

    reason: str


def run(
    work: Callable[[T], R], items: Sequence[T], cluster: Cluster
) -> Iterator[tuple[T, R | Lost]]:
    """Results of a function, in the order in which they are ready.

    Args:
        work: what is done; it is pickled once for each actor, and kept there.
        items: what it is done to; they are pickled too.
        cluster: where.

    Raises:
        ClusterError: there is no such cluster, or it gave up.
    """
    left = dict(enumerate(items))
    with connected(cluster) as workers:
        for size in (max(1, min(ITEMS, len(items) // (BLOCKS_EACH * workers))), 1):
            for number, result in _pass(work, left, size, min(workers, len(left)), cluster):
                yield left.pop(number), result
            if not left:
                return
    for item in left.values():
        yield item, Lost("its worker died at every try; out of memory?")


def _pass(
    work: Callable[[T], R], items: dict[int, T], size: int, workers: int, cluster: Cluster
) -> Iterator[tuple[int, R | Lost]]:
    ray = import_ray()
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1
    rows = [{"number": n, "item": pickle.dumps(item)} for n, item in items.items()]
    blocks = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no other way yet to limit the retries
        results = blocks.map_batches(
            _Actor,
            fn_constructor_args=(work,),
            batch_format="pyarrow",
            # One block at a time: those that wait for a worker would die with it.
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus or None,
            max_restarts=-1,
            max_task_retries=TRIES,
        )
    try:
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in table.to_pylist():
                yield row["number"], pickle.loads(row["result"])
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()
        raise ClusterError(f"the cluster gave up ({said[-1] if said else error!r})") from error


class _Actor:
    """A worker, which keeps what its function has loaded."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        results = [pickle.dumps(self._result(pickle.loads(i.as_py()))) for i in table["item"]]
        return pa.table({"number": table["number"], "result": pa.array(results, pa.binary())})

    def _result(self, item: Any) -> Any:
        try:
            return self._work(item)
        except Exception as error:  # it is no reason to give up the other items of a block
            return Lost(f"{type(error).__name__}: {error}")
