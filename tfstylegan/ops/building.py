"""Compiles the custom ops into a library, whose name says what it was made of.

`tfstylegan_ops-<key>.so`: the key is a hash of the C++ sources, the compile flags,
TensorFlow's version, the machine's architecture and the instruction sets, so that a
library is only ever loaded where it belongs.

A library for the CPU at hand holds the loops for its instruction sets alone, and is
built in a third of the time; one for all CPUs chooses at run time. GPU kernels are part
of it where TensorFlow is built with CUDA and sees a GPU, and nvcc is there to compile
them; it then loads on machines without a GPU too.

The environment variables are those of `library`.
"""

import functools
import hashlib
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile
import time

import tensorflow as tf
from absl import logging

from tfstylegan import cache

FLAGS = ("-O3", "-fPIC", "-w")

_NVCC_FLAGS = ("-x", "cu", "-std=c++17", "-O3", "-Xcompiler", "-fPIC", "-w")
_CUDA_ARCHS = ("80", "90")  # and those of older GPUs that are visible
_ERROR_LINES = 20  # of a failed build, kept for the message
# What each level of custom_ops/cpu_dispatch.h asks of a CPU, as Linux names it.
_FEATURES = (
    set(),
    {"avx2", "fma"},
    {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"},
)


def build(directory, level=None):
    """Compiles the library into `directory`, atomically; returns its path.

    Args:
      directory: an existing folder.
      level: of `cpu_level`, for CPUs that have it; None is for all.

    Raises:
      RuntimeError: with the compiler's last lines, if it fails or is missing.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise RuntimeError(f"no C++ compiler ({compiler} is not on the PATH)")
    archs = cuda_archs()
    if archs and shutil.which(nvcc()) is None:
        raise RuntimeError(
            f"TFSTYLEGAN_CUDA_ARCHS={','.join(archs)} asks for GPU kernels, and there "
            f"is no CUDA compiler ({nvcc()} is not on the PATH)"
        )
    target = pathlib.Path(directory) / _file_name(archs, level)
    duration = "two minutes" if archs else "20 s" if level is not None else "40 s"
    logging.warning("building the custom ops, about %s, once (%s)", duration, target)
    start = time.monotonic()
    host = [compiler, *FLAGS, *tf.sysconfig.get_compile_flags(), *_defines(level)]
    device = []
    if archs:
        host.append("-DTFSTYLEGAN_CUDA")
        device = [nvcc(), "-ccbin", compiler, *_NVCC_FLAGS, *_gencode(archs)]
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        objects = []
        running = []
        for *joined, last in _units(archs):
            objects.append(os.path.join(scratch, last.stem + ".o"))
            command = device if last.name.endswith(".cu.cc") else host
            before = [option for path in joined for option in ("-include", str(path))]
            names = ["-c", str(last), "-o", objects[-1]]
            running.append(_start([*command, *before, *names]))
        for process in running:
            _finish(process)
        temporary = os.path.join(scratch, target.name)
        linker = [compiler]
        if archs:  # with CUDA's run-time library: nothing of CUDA need be installed
            linker = [nvcc(), "-ccbin", compiler, "-cudart", "static"]
        flags = tf.sysconfig.get_link_flags()
        _finish(_start([*linker, "-shared", *objects, "-o", temporary, *flags]))
        os.replace(temporary, target)
    logging.info("built the custom ops in %.0f s", time.monotonic() - start)
    return target


def prebuilt_path(archs=None):
    """Where whoever makes the package puts the library, for all CPUs."""
    archs = cuda_archs() if archs is None else archs
    return pathlib.Path(__file__).parent / _file_name(archs, None)


def cached_path(archs=None):
    """Where the user's cache folder has it, for the CPU at hand."""
    archs = cuda_archs() if archs is None else archs
    return cache.folder() / _file_name(archs, cpu_level())


@functools.cache
def cpu_level():
    """2 for a CPU with AVX-512, 1 for AVX2 with FMA, 0 for less; None if not known.

    As Linux tells it: under an emulator that is the CPU of the host.
    """
    if platform.machine() != "x86_64":
        return None
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return None
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    if flags is None:
        return None
    has = set(flags[1].split())
    return max(level for level, asked in enumerate(_FEATURES) if asked <= has)


def cuda_archs():
    """Compute capabilities that the library has GPU kernels for; () for none."""
    asked = asked_cuda_archs()
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
    if shutil.which(nvcc()) is None:
        if not (prebuilt_path(archs).exists() or cached_path(archs).exists()):
            return ()
    return archs


def asked_cuda_archs():
    """TFSTYLEGAN_CUDA_ARCHS as a tuple, or None if it is not set."""
    text = os.environ.get("TFSTYLEGAN_CUDA_ARCHS")
    if text is None:
        return None
    archs = tuple(part.strip() for part in text.split(",") if part.strip())
    if not all(re.fullmatch(r"[1-9]\d+[af]?", arch) for arch in archs):
        raise ValueError(f"TFSTYLEGAN_CUDA_ARCHS must be like 80,90; got {text!r}")
    return archs


def nvcc():
    """The compiler of CUDA sources, which need not be there."""
    return os.environ.get("NVCC", "nvcc")


def _file_name(archs, level):
    """tfstylegan_ops-<key>.so, the same on every machine that may share it."""
    # Without the folders, which differ from machine to machine.
    flags = [f for f in tf.sysconfig.get_compile_flags() if not f.startswith("-I")]
    parts = [_sources_digest(), *FLAGS, *flags, *_defines(level), tf.__version__]
    parts += [platform.system(), platform.machine()]
    if archs:
        parts += ["CUDA", *_NVCC_FLAGS, *archs]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"tfstylegan_ops-{key[:16]}.so"


@functools.cache
def _sources_digest():
    digest = hashlib.sha256()
    for path in sorted(_source_folder().iterdir()):
        if path.suffix in (".h", ".cc"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _source_folder():
    """`custom_ops`, inside an installed package or beside it in a checkout."""
    package = pathlib.Path(__file__).parents[1]
    for folder in (package / "custom_ops", package.parent / "custom_ops"):
        if (folder / "upfirdn2d.cc").exists():
            return folder
    raise RuntimeError("the C++ sources of the ops are not installed (custom_ops)")


def _units(archs):
    """The sources, in groups that are compiled as one file.

    Those for the CPU are two, for the two cores of a small machine: the headers of
    TensorFlow take a compiler longer than most of the files.
    """
    sources = sorted(_source_folder().glob("*.cc"))
    gpu = [path for path in sources if path.name.endswith((".cu.cc", "_gpu.cc"))]
    cpu = [path for path in sources if path not in gpu]
    middle = len(cpu) // 2
    return [cpu[:middle], cpu[middle:], *([path] for path in gpu if archs)]


def _defines(level):
    return [] if level is None else [f"-DTFSTYLEGAN_CPU_LEVEL={level}"]


def _gencode(archs):
    """nvcc's options: machine code for each, and PTX of the last for newer GPUs."""
    options = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    return [*options, f"-gencode=arch=compute_{archs[-1]},code=compute_{archs[-1]}"]


def _start(command):
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _finish(process):
    output, _ = process.communicate()
    if process.returncode != 0:
        lines = output.strip().splitlines()[-_ERROR_LINES:]
        raise RuntimeError("\n".join([f"{process.args[0]} failed:", *lines]))
