"""Finds, builds or declines the compiled ops; decides which implementation runs.

On first use the library is taken from the first of these that works:

1. `tfstylegan/ops/tfstylegan_ops-<key>.so`, put there by whoever made the package;
2. the user's cache folder, from an earlier build;
3. a build with the C++ compiler into that folder, for this CPU, under a file lock;
4. nowhere: the pure-TensorFlow twins serve, and one log line says why.

Environment variables:
  TFSTYLEGAN_OPS: "auto" (default), "compiled" or "reference", for impl="auto".
  TFSTYLEGAN_CACHE: the cache folder; default `$XDG_CACHE_HOME/tfstylegan` or
    `~/.cache/tfstylegan`.
  CXX: the compiler; default g++.
  NVCC: the compiler of CUDA sources; default nvcc.
  TFSTYLEGAN_CUDA_ARCHS: compute capabilities to build GPU kernels for, such as "80,90"
    (without a GPU too, then nvcc must be there), or "" for none. Newer GPUs run code
    that the driver compiles for them from that of the last one.
"""

import ctypes
import fcntl
import functools
import os
import threading

import tensorflow as tf
from absl import logging

from tfstylegan.ops import building

AVX512 = 2  # of `cpu_level`, as in custom_ops/cpu_dispatch.h

_CHOICES = ("auto", "compiled", "reference")
_TARGETS = (None, "any", "cpu")

_lock = threading.RLock()
_library = None  # the module of op functions, once loaded
_origin = None  # where it came from
_path = None  # its file
_failure = None  # why there is none, once tried
_declined = None  # why "auto" does not use it ("" if it does), once decided
_forced = None  # set by `implementation`
_target = None  # set by `implementation`


class implementation:
    """Context in which impl="auto" means `name`: "reference", "compiled" or "auto".

    Whoever traces for XLA or for programs that lack the compiled ops does so inside
    `implementation("reference")`. The choice is made when an op is called or
    traced, and holds for its gradients. It is process-wide, not of one thread, because
    tf.distribute traces replicas in threads of its own.

    `target` tells where the graph is to run: None, on this machine; "any", on others,
    with or without a GPU; "cpu", on the CPUs of others, which have AVX-512.
    """

    def __init__(self, name, *, target=None):
        if name not in _CHOICES:
            raise ValueError(f"name must be one of {_CHOICES}, got {name!r}")
        if target not in _TARGETS:
            raise ValueError(f"target must be one of {_TARGETS}, got {target!r}")
        self._chosen = name, target
        self._previous = []

    def __enter__(self):
        global _forced, _target
        self._previous.append((_forced, _target))
        _forced, _target = self._chosen
        return self

    def __exit__(self, *unused):
        global _forced, _target
        _forced, _target = self._previous.pop()


def target():
    """Where graphs that are traced now are to run; see `implementation`."""
    return _target


def use_compiled(impl):
    """Whether an op called with `impl` runs compiled.

    Raises:
      ValueError: for an unknown choice.
      RuntimeError: if "compiled" was asked for and there is no library.
    """
    choice, _ = _choice(impl)
    if choice == "reference":
        return False
    if choice == "compiled":
        return library() is not None
    return _why_not() is None


def library():
    """The module of compiled op functions; RuntimeError with the reason if none."""
    _load()
    if _library is None:
        raise RuntimeError(f"the compiled ops are not available: {_failure}")
    return _library


@functools.cache
def cpu_level():
    """What the compiled ops use of the CPU: AVX512, 1 for AVX2 with FMA, 0 for less.

    Raises:
      RuntimeError: if there is no library.
    """
    library()
    return ctypes.CDLL(str(_path)).tfstylegan_cpu_level()


def describe():
    """One line: which implementation impl="auto" uses, and why.

    It names no folder: runs store it.
    """
    choice, source = _choice("auto")
    if choice == "reference":
        return f"reference ops ({source})"
    if choice == "compiled":
        library()
    reason = _why_not() if choice == "auto" else None
    if reason is not None:
        return f"reference ops ({reason.splitlines()[0].rstrip(':')})"
    return f"compiled ops ({_origin})"


def _choice(impl):
    """(choice, who made it) after the context and the environment."""
    if impl not in _CHOICES:
        raise ValueError(f"impl must be one of {_CHOICES}, got {impl!r}")
    if impl != "auto":
        return impl, f"impl={impl!r}"
    if _forced is not None and _forced != "auto":
        return _forced, f"ops.implementation({_forced!r})"
    name = os.environ.get("TFSTYLEGAN_OPS", "auto")
    if name not in _CHOICES:
        raise ValueError(f"TFSTYLEGAN_OPS must be one of {_CHOICES}, got {name!r}")
    return name, f"TFSTYLEGAN_OPS={name}"


def _why_not():
    """Why "auto" declines the compiled ops, or None; the first time, says so."""
    global _declined
    if _declined is None:
        with _lock:
            if _declined is None:
                if tf.config.get_visible_devices("GPU") and not building.cuda_archs():
                    # To the CPU and back for every op costs more than the twins.
                    reason = "a GPU is in use, for which there are no compiled ops"
                    if (
                        tf.test.is_built_with_cuda()
                        and building.asked_cuda_archs() is None
                    ):
                        reason += f" ({building.nvcc()} is not on the PATH)"
                elif tf.config.get_visible_devices("GPU"):
                    reason = (
                        "a GPU is in use, and the GPU kernels have run on none yet; "
                        "TFSTYLEGAN_OPS=compiled takes them"
                    )
                else:
                    _load()
                    reason = _failure or ""
                if reason:
                    logging.warning("using the pure-TensorFlow ops: %s", reason)
                _declined = reason
    return _declined or None


def _load():
    """Sets _library and _origin, or _failure; once."""
    global _failure
    if _library is not None or _failure is not None:
        return
    with _lock:
        if _library is not None or _failure is not None:
            return
        try:
            _find()
        except (OSError, RuntimeError) as error:
            _failure = str(error)


def _find():
    prebuilt = building.prebuilt_path()
    if prebuilt.exists():
        _open(prebuilt, "prebuilt")
    else:
        _open(_cached(), "cached")


def _cached():
    """The path of the library in the cache folder, built if it is not there."""
    path = building.cached_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with open(path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            if not path.exists():  # another process may have been first
                building.build(path.parent, building.cpu_level())
    return path


def _open(path, kind):
    global _library, _origin, _path
    try:
        _library = tf.load_op_library(str(path))
    except tf.errors.OpError as error:
        raise RuntimeError(f"{path} does not load: {error.message}") from error
    _origin, _path = f"{kind} {path.name}", path
