"""Work that threads do ahead of whoever needs its results."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Generator[Result, None, None]:
    """function(item) for each item, in order; `threads` of them are worked on while the one before is used.

    What `function` raises is raised where its result is due. Closed early, it waits for those that are being worked on.
    """
    from concurrent.futures import Future, ThreadPoolExecutor  # here, because few programs read ahead

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "chainrule-reading") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
