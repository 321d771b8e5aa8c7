"""Work on many images by several processes: results in order, progress shown."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import process

import tqdm

WORTH_A_WORKER = 64  # items; to start a process takes half a second
CHUNK = 16  # items that travel together: a message costs as much as a small image
AHEAD = 3  # chunks a worker that are under way


@contextlib.contextmanager
def ordered_map(
    function: Callable, items: Sequence, *, setup: Callable, workers: int, title: str
) -> Iterator[Iterator]:
    """Context of an iterator over function(state, item), in the order of the items.

    `state` is setup(), made once a process: what cannot travel between processes, such
    as an open archive, is opened in each. There are at most `workers`; one is this
    process itself. The others end when this process does, however it ends. Standard
    error shows `title`, a bar and the time that is left.

    Raises what `function` and `setup` raise, OSError where a worker was killed.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    workers = min(workers, len(items) // WORTH_A_WORKER)
    if workers > 1:
        results = _by_workers(function, items, setup, workers)
    else:
        results = _here(function, items, setup)
    interval = 0.1 if sys.stderr.isatty() else 30  # seconds; a log needs few lines
    bar = tqdm.tqdm(total=len(items), desc=title, unit=" images", mininterval=interval)

    def counted():
        for result in results:
            bar.update()
            yield result

    with contextlib.closing(results), bar:
        yield counted()


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _here(function, items, setup):
    state = setup()
    for item in items:
        yield function(state, item)


def _by_workers(function, items, setup, workers):
    # A fork would copy locks that other threads hold (tqdm's, TensorFlow's).
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=_start, initargs=(setup, function, stop)
    )
    try:
        pending = collections.deque()
        for first in range(0, len(items), CHUNK):
            with _interrupts_held():  # processes start here and inherit that
                pending.append(pool.submit(_work, items[first : first + CHUNK]))
            if len(pending) >= AHEAD * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except process.BrokenProcessPool as error:
        raise OSError(
            "a worker process was killed, maybe for want of memory: take fewer workers"
        ) from error
    finally:
        stop.set()  # else what is under way would be finished, even after an error
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _interrupts_held():
    """Ctrl-C waits while processes are being started, and is for this one alone.

    The mask is what they inherit. It does not keep the signal from other threads of
    this process, for which Python would interrupt the main one half-way through the
    pool's bookkeeping: a worker that it does not know of is waited for for ever (seen).
    """
    came = []
    in_main = threading.current_thread() is threading.main_thread()
    if in_main:
        handler = signal.signal(signal.SIGINT, lambda *call: came.append(call))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


_WORKER = {}


def _start(setup, function, stop):
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _WORKER.update(setup=setup, function=function, stop=stop)


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(chunk):
    if "state" not in _WORKER:
        _WORKER["state"] = _WORKER["setup"]()
    function, state, stop = (_WORKER[key] for key in ("function", "state", "stop"))
    return [function(state, item) for item in chunk if not stop.is_set()]
