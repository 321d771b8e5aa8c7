"""ops.building: GPU kernels in the library, where they are asked for."""

import os
import shutil

import pytest
import tensorflow as tf
from test_ops_library import run_python

from tfstylegan.ops import building, library


@pytest.fixture
def archs(monkeypatch):
    """archs(text): what TFSTYLEGAN_CUDA_ARCHS=text asks for; None is unset."""

    def of(text):
        if text is None:
            monkeypatch.delenv("TFSTYLEGAN_CUDA_ARCHS", raising=False)
        else:
            monkeypatch.setenv("TFSTYLEGAN_CUDA_ARCHS", text)
        return building.cuda_archs()

    return of


@pytest.fixture
def gpu(monkeypatch):
    """gpu(capability): as if TensorFlow with CUDA saw such a GPU."""

    def of(capability):
        details = {"compute_capability": capability}
        experimental = tf.config.experimental
        monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda *_: ["GPU:0"])
        monkeypatch.setattr(experimental, "get_device_details", lambda _: details)
        monkeypatch.delenv("TFSTYLEGAN_CUDA_ARCHS", raising=False)

    return of


def command(folder, name):
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_archs_are_asked_for(archs):
    assert archs("80,90") == ("80", "90")
    assert archs(" 90a ") == ("90a",)
    assert archs("") == ()
    with pytest.raises(ValueError, match="must be like 80,90; got 'sm_80'"):
        archs("sm_80")


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU here"
)
def test_archs_are_none_without_a_gpu(archs):
    assert archs(None) == ()


@pytest.mark.parametrize(
    "capability, expected",
    [((9, 0), ("80", "90")), ((12, 0), ("80", "90")), ((7, 5), ("75", "80", "90"))],
)
def test_archs_follow_the_gpu(gpu, tmp_path, monkeypatch, capability, expected):
    gpu(capability)
    monkeypatch.setenv("NVCC", command(tmp_path, "nvcc"))
    assert building.cuda_archs() == expected


def test_gpu_without_nvcc_takes_a_library_that_is_there(gpu, tmp_path, monkeypatch):
    gpu((9, 0))
    monkeypatch.setenv("NVCC", str(tmp_path / "none"))
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path))
    assert building.cuda_archs() == ()
    building.cached_path(("80", "90")).touch()
    assert building.cuda_archs() == ("80", "90")


def test_gpu_without_nvcc_is_one_log_line(gpu, tmp_path, monkeypatch):
    gpu((9, 0))
    monkeypatch.setenv("NVCC", str(tmp_path / "none"))
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path))
    monkeypatch.delenv("TFSTYLEGAN_OPS", raising=False)
    monkeypatch.setattr(library, "_declined", None)
    lines = []
    monkeypatch.setattr(
        library.logging, "warning", lambda text, *values: lines.append(text % values)
    )
    for _ in range(2):
        assert not library.use_compiled("auto")
    reason = (
        "a GPU is in use, for which there are no compiled ops "
        f"({tmp_path}/none is not on the PATH)"
    )
    assert lines == [f"using the pure-TensorFlow ops: {reason}"]


def test_archs_are_part_of_the_name():
    choices = (), ("80",), ("80", "90")
    assert len({building.prebuilt_path(archs) for archs in choices}) == 3
    assert len({building.cached_path(archs) for archs in choices}) == 3


def test_archs_without_nvcc_are_an_error(archs, tmp_path, monkeypatch):
    monkeypatch.setenv("NVCC", str(tmp_path / "none"))
    archs("80,90")
    with pytest.raises(RuntimeError, match="_ARCHS=80,90 asks .*none is not on the"):
        building.build(tmp_path)


def test_gencode_ends_with_ptx():
    assert building._gencode(("80", "90")) == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90,code=compute_90",
    ]


USES_OPS = """
import ctypes, pathlib
import numpy as np
from tensorflow.python.framework import kernels
from tfstylegan import ops
x = np.ones([1, 4, 4, 2], np.float32)
print(float(np.sum(ops.upfirdn2d(x, [1, 3, 3, 1], impl="compiled"))))
ops = ["Upfirdn2d", "FusedBiasAct", "FusedBiasActGrad"]
ops += ["StyledEpilogue", "StyledEpilogueGrad", "StyledEpilogueGradGrad"]
for op in ops:
    found = kernels.get_registered_kernels_for_op("Tfstylegan" + op).kernel
    print(sorted(kernel.device_type for kernel in found))
"""


@pytest.mark.skipif(
    shutil.which(os.environ.get("NVCC", "nvcc")) is None, reason="no nvcc here"
)
@pytest.mark.slow
def test_library_with_gpu_kernels_runs_without_a_gpu():
    out, _ = run_python(
        USES_OPS,
        TFSTYLEGAN_CUDA_ARCHS="80,90",
        TFSTYLEGAN_OPS="auto",
        CUDA_VISIBLE_DEVICES="",
    )
    assert out.splitlines() == ["128.0", *[str(["CPU"] * 4 + ["GPU"] * 4)] * 6]
