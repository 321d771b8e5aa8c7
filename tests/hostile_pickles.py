"""All pickles that must be refused, and a process that tries to read them.

Run as a program it reads each of them under a limit of memory and of time and prints
what came of it as JSON.
"""

import contextlib
import io
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import hostile_code
import hostile_costs
import hostile_data

from tfstylegan.interop import nvidia_pickle

SECONDS = 2  # of the processor
MEMORY = 500 << 20  # bytes more than before


def hostile(canary):
    """(name, bytes, regular expression of the refusal); `canary` is never made."""
    yield from hostile_code.globals_cases(canary)
    yield from hostile_code.opcode_cases()
    yield from hostile_code.stack_cases()
    yield from hostile_code.call_cases()
    yield from hostile_data.state_cases()
    yield from hostile_data.storage_cases()
    yield from hostile_data.archive_cases()
    yield from hostile_data.tensor_cases()
    yield from hostile_data.module_cases()
    yield from hostile_data.network_cases()
    yield from hostile_data.file_cases()
    yield from hostile_costs.shared_cases()
    yield from hostile_costs.many_cases()
    yield from hostile_costs.again_cases()
    yield from hostile_costs.deep_cases()
    yield from hostile_costs.ring_cases()
    yield from hostile_costs.key_cases()


class TooSlow(BaseException):
    """The alarm; nothing that catches Exception holds it back."""


def guard():
    """From here on, memory is short."""
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))


@contextlib.contextmanager
def alarm(seconds):
    """TooSlow in here after so many of the processor.

    The timer is of the wall clock and looks at the processor's time again and again:
    not every virtual machine delivers `signal.ITIMER_PROF`, and one signal can be lost.
    """
    end = time.process_time() + seconds

    def look(*_):
        if time.process_time() > end:
            raise TooSlow

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, seconds / 2, seconds / 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(data, read=nvidia_pickle.read):
    """(kind, message): the PickleError, or what should not have come."""
    try:
        with alarm(SECONDS):
            read(io.BytesIO(data))
    except nvidia_pickle.PickleError as error:
        return "refused", str(error)
    except BaseException as error:
        return "failed", f"{type(error).__name__}: {error}"
    return "read", ""


def main(canary):
    guard()
    for name, data, words in hostile(canary):
        start = time.process_time()
        kind, message = outcome(data)
        seconds = time.process_time() - start
        print(json.dumps([name, words, kind, message, seconds]), flush=True)


def run(canary):
    """What `main` prints, of a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, str(canary)],
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr[-4000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main(sys.argv[1])
