"""Finds, builds or declines the compiled ops; decides which implementation runs.

On first use the library is taken from the first of these that works:

1. `tfstylegan/ops/tfstylegan_ops-<key>.so`, put there by whoever made the package;
2. the user's cache folder, from an earlier build;
3. a build with the C++ compiler into that folder, under a file lock;
4. nowhere: the pure-TensorFlow twins serve, and one log line says why.

The key is a hash of the C++ sources, the compile flags, TensorFlow's version and the
machine's architecture, so that a library is only ever loaded where it belongs.

GPU kernels are part of the library where TensorFlow is built with CUDA and sees a GPU,
and nvcc is there to compile them; it then loads on machines without a GPU too.

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
import hashlib
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile
import threading
import time

import tensorflow as tf
from absl import logging

from tfstylegan import cache

AVX512 = 2  # of `cpu_level`

_CHOICES = ("auto", "compiled", "reference")
_TARGETS = (None, "any", "cpu")
_FLAGS = ("-O3", "-fPIC", "-w")
_NVCC_FLAGS = ("-x", "cu", "-std=c++17", "-O3", "-Xcompiler", "-fPIC", "-w")
_CUDA_ARCHS = ("80", "90")  # and those of older GPUs that are visible
_ERROR_LINES = 20  # of a failed build, kept for the message

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
    """What the CPU offers the compiled ops: AVX512, 1 for AVX2 with FMA, 0 for less.

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


def build(directory):
    """Compiles the library into `directory`, atomically; returns its path.

    Raises:
      RuntimeError: with the compiler's last lines, if it fails or is missing.
    """
    sources = _source_folder()
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise RuntimeError(f"no C++ compiler ({compiler} is not on the PATH)")
    archs = _archs()
    nvcc = _nvcc()
    if archs and shutil.which(nvcc) is None:
        raise RuntimeError(
            f"TFSTYLEGAN_CUDA_ARCHS={','.join(archs)} asks for GPU kernels, and there "
            f"is no CUDA compiler ({nvcc} is not on the PATH)"
        )
    target = pathlib.Path(directory) / _file_name()
    duration = "two minutes" if archs else "20 s"
    logging.warning("building the custom ops, about %s, once (%s)", duration, target)
    start = time.monotonic()
    compile_flags = tf.sysconfig.get_compile_flags()
    if archs:
        compile_flags = [*compile_flags, "-DTFSTYLEGAN_CUDA"]
    link_flags = tf.sysconfig.get_link_flags()
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        objects = []
        running = []
        for source in sorted(sources.glob("*.cc")):
            cuda = source.name.endswith(".cu.cc")
            if cuda and not archs:
                continue
            objects.append(os.path.join(scratch, source.stem + ".o"))
            if cuda:
                command = [nvcc, "-ccbin", compiler, *_NVCC_FLAGS, *_gencode(archs)]
            else:
                command = [compiler, *_FLAGS, *compile_flags]
            running.append(_start([*command, "-c", str(source), "-o", objects[-1]]))
        for process in running:
            _finish(process)
        temporary = os.path.join(scratch, target.name)
        linker = [compiler]
        if archs:  # with CUDA's run-time library: nothing of CUDA need be installed
            linker = [nvcc, "-ccbin", compiler, "-cudart", "static"]
        _finish(_start([*linker, "-shared", *objects, "-o", temporary, *link_flags]))
        os.replace(temporary, target)
    logging.info("built the custom ops in %.0f s", time.monotonic() - start)
    return target


def _start(command):
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _finish(process):
    output, _ = process.communicate()
    if process.returncode != 0:
        lines = output.strip().splitlines()[-_ERROR_LINES:]
        raise RuntimeError("\n".join([f"{process.args[0]} failed:", *lines]))


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
                if tf.config.get_visible_devices("GPU") and not _archs():
                    # To the CPU and back for every op costs more than the twins.
                    reason = "a GPU is in use, for which there are no compiled ops"
                    if tf.test.is_built_with_cuda() and _asked_archs() is None:
                        reason += f" ({_nvcc()} is not on the PATH)"
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
    prebuilt = pathlib.Path(__file__).parent / _file_name()
    if prebuilt.exists():
        _open(prebuilt, "prebuilt")
    else:
        _open(_cached(), "cached")


def _cached():
    """The path of the library in the cache folder, built if it is not there."""
    folder = cache.folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _file_name()
    if not path.exists():
        with open(path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            if not path.exists():  # another process may have been first
                build(folder)
    return path


def _open(path, kind):
    global _library, _origin, _path
    try:
        _library = tf.load_op_library(str(path))
    except tf.errors.OpError as error:
        raise RuntimeError(f"{path} does not load: {error.message}") from error
    _origin, _path = f"{kind} {path.name}", path


def _source_folder():
    """`custom_ops`, inside an installed package or beside it in a checkout."""
    package = pathlib.Path(__file__).parents[1]
    for folder in (package / "custom_ops", package.parent / "custom_ops"):
        if (folder / "upfirdn2d.cc").exists():
            return folder
    raise RuntimeError("the C++ sources of the ops are not installed (custom_ops)")


def _nvcc():
    return os.environ.get("NVCC", "nvcc")


def _asked_archs():
    """TFSTYLEGAN_CUDA_ARCHS as a tuple, or None if it is not set."""
    text = os.environ.get("TFSTYLEGAN_CUDA_ARCHS")
    if text is None:
        return None
    archs = tuple(part.strip() for part in text.split(",") if part.strip())
    if not all(re.fullmatch(r"[1-9]\d+[af]?", arch) for arch in archs):
        raise ValueError(f"TFSTYLEGAN_CUDA_ARCHS must be like 80,90; got {text!r}")
    return archs


def _archs():
    """Compute capabilities that the library has GPU kernels for; () for none."""
    asked = _asked_archs()
    if asked is not None:
        return asked
    if not tf.test.is_built_with_cuda():
        return ()
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return ()
    found = set()
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        major, minor = details.get("compute_capability", (8, 0))
        found.add(10 * major + minor)
    oldest = int(_CUDA_ARCHS[0])
    archs = (*(str(arch) for arch in sorted(found) if arch < oldest), *_CUDA_ARCHS)
    if shutil.which(_nvcc()) is None:
        name = _file_name(archs)
        folders = pathlib.Path(__file__).parent, cache.folder()
        if not any((folder / name).exists() for folder in folders):
            return ()
    return archs


def _gencode(archs):
    """nvcc's options: machine code for each, and PTX of the last for newer GPUs."""
    options = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    return [*options, f"-gencode=arch=compute_{archs[-1]},code=compute_{archs[-1]}"]


@functools.cache
def _file_name(archs=None):
    """tfstylegan_ops-<key>.so, the same on every machine that may share it."""
    archs = _archs() if archs is None else archs
    digest = hashlib.sha256()
    for path in sorted(_source_folder().iterdir()):
        if path.suffix in (".h", ".cc"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    # Without the folders, which differ from machine to machine.
    flags = [f for f in tf.sysconfig.get_compile_flags() if not f.startswith("-I")]
    parts = (*_FLAGS, *flags, tf.__version__, platform.system(), platform.machine())
    if archs:
        parts += ("CUDA", *_NVCC_FLAGS, *archs)
    digest.update("\0".join(parts).encode())
    return f"tfstylegan_ops-{digest.hexdigest()[:16]}.so"
