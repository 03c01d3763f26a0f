"""Prepares the next batch while the network trains on this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prepared_ahead(prepare: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield `prepare(item)` for each item, in their order, one ahead in a thread of its own.

    Args:
        prepare: must take its randomness from its argument alone; torch's global generator is the network's.
        items: what to prepare.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as executor:
        upcoming: Future[_Result] | None = None
        for item in items:
            ready, upcoming = upcoming, executor.submit(prepare, item)
            if ready is not None:
                yield ready.result()
        if upcoming is not None:
            yield upcoming.result()
