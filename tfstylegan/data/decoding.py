"""Image files decoded by other processes, as many as there are cores.

Threads would share Python's lock, which Pillow gives up for a part of its work only.
"""

import atexit
import concurrent.futures
import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

import numpy as np
from absl import logging

from tfstylegan.data import parallel, shared_arrays

PATIENCE = 10  # seconds; a large image takes one
BY_THREADS = "images are decoded by threads of this process, which is slower"
MOST = 32  # processes
CHUNK = 8  # images of a request at most; a message takes as long as a tenth of one

# Not by `multiprocessing`: its processes run the user's script again where that lacks
# `if __name__ == "__main__":`, and share memory under a name in /dev/shm, which is tiny
# in containers and is left behind by who is killed.
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from tfstylegan.data import decode_worker; "
    "decode_worker.serve(*map(int, sys.argv[2:]))"
)
# What is sent to a whole group of processes (Ctrl-C, a batch system) is for the one
# that started these: it may want some more batches until it stops in good order.
HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Decoders:
    """Processes that decode, and the memory that they decode into.

    Both go with this process, however it ends. Raises OSError where none can be had.
    """

    def __init__(self, count: int):
        self.memory = shared_arrays.SharedArrays()
        self.workers = []
        try:
            for _ in range(count):
                self.workers.append(_Worker(self.memory.descriptor))
        except OSError:
            self.close()
            raise

    @property
    def whole(self) -> bool:
        """Whether none of the processes has ended."""
        return all(worker.process.poll() is None for worker in self.workers)

    def chunk(self, count: int) -> int:
        """Images of a request, so that every process has its part of `count` images."""
        return max(1, min(CHUNK, count // (2 * len(self.workers))))

    def empty(self, shape: Sequence[int]) -> tuple[np.ndarray, int] | None:
        """A batch in the memory and its offset there; None, and a log line, where the
        system has too little of it or a limit on the size of files."""
        try:
            return self.memory.empty(shape)
        except OSError as error:
            logging.log_first_n(logging.WARNING, f"{BY_THREADS}: {error}", 1)
            return None

    def decode(
        self, files: Sequence[bytes | str], offsets: Sequence[int], batch: np.ndarray
    ) -> concurrent.futures.Future:
        """Decodes image files into `batch`, uint8 [N, H, W, C], as `images.decode`.

        A file is its bytes or its path. The pixels of each go to its offset in the
        memory, where the batch lies; it is held until that is done. The result is a
        byte for each file, 0 where it could not be read or decoded; OSError where a
        process was killed.
        """
        worker = min(self.workers, key=lambda worker: worker.waiting)
        return worker.decode(files, offsets, batch)

    def close(self) -> None:
        """Lets the processes end, after what is under way."""
        for worker in self.workers:
            worker.close()


class _Worker:
    """A process, and the thread that takes its answers, which come in order."""

    def __init__(self, memory: int):
        self.waiting = 0  # images
        self._jobs = queue.SimpleQueue()  # (images, batch, future); None is the last
        self._sending = threading.Lock()  # keeps jobs and requests in one order
        self._closed = False
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = _start(theirs.fileno(), memory)
        self.answers = threading.Thread(target=self._receive, daemon=True)
        self.answers.start()

    def decode(self, files, offsets, batch):
        height, width, channels = batch.shape[1:]
        shape = {"height": height, "width": width, "channels": channels}
        request = pickle.dumps((shape, list(zip(offsets, files, strict=True))))
        future = concurrent.futures.Future()
        with self._sending:
            if self._closed:
                raise OSError("the processes that decode images have been ended")
            self.waiting += len(files)
            self._jobs.put((len(files), batch, future))
            try:
                self._socket.sendall(request)
            except OSError:
                pass  # it has ended; `_receive` gets no answer and tells
        return future

    def close(self):
        with self._sending:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has ended

    def _receive(self):
        while job := self._jobs.get():
            count, _, future = job
            try:
                answer = self._socket.recv(count, socket.MSG_WAITALL)
            except OSError:
                answer = b""
            self.waiting -= count
            if len(answer) == count:
                future.set_result(answer)
            else:
                future.set_exception(OSError(self._ending()))
            del job, _, future  # and with them the batch
        self._socket.close()
        self.process.wait()

    def _ending(self):
        status = self.process.wait()
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"a process that decodes images ended {how}, maybe for want of memory"


def _start(requests: int, memory: int) -> subprocess.Popen:
    if not sys.executable or hasattr(sys, "frozen"):
        raise OSError("this program is no Python interpreter")
    path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
    # Who starts it gives it this mask; what is held back stays so until it ends.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, path, str(requests), str(memory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[requests, memory],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # NumPy's, for each process
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


_LOCK = threading.Lock()
_SHARED = []  # what `shared` gives, once it is known


def shared() -> Decoders | None:
    """The decoders of this process, which the first call starts.

    None where threads have to do: on one core, and where the system refuses; the log
    then says so. If one of them has been killed, the next call starts new ones.
    """
    with _LOCK:
        if _SHARED and _SHARED[0] and not _SHARED[0].whole:
            _SHARED.pop().close()
        if not _SHARED:
            _SHARED.append(_try_to_start(min(MOST, parallel.available_cores())))
        return _SHARED[0]


def _try_to_start(count: int) -> Decoders | None:
    if count < 2:
        return None
    try:
        decoders = Decoders(count)
        logging.info("images are decoded by %d processes", count)
        return decoders
    except OSError as error:
        logging.warning("%s: %s", BY_THREADS, error)
        return None


def _close_shared() -> None:
    """They would notice that this process ends; now they end before."""
    if _SHARED and _SHARED[0]:
        _SHARED[0].close()
        for worker in _SHARED[0].workers:
            worker.answers.join(PATIENCE)


atexit.register(_close_shared)
