"""BUILD: its targets build against the installed TensorFlow, offline, and work."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tfstylegan.ops import building

ROOT = pathlib.Path(__file__).parents[1]

# Another workspace, as a model server's is: it links the ops into a program.
WORKSPACE = """
local_repository(name = "tfstylegan", path = "{root}")
load("@tfstylegan//bazel:built_in_rules.bzl", "built_in_rules")
load("@tfstylegan//bazel:installed_tensorflow.bzl", "installed_tensorflow")
installed_tensorflow(name = "org_tensorflow")
built_in_rules(
    name = "rules_cc",
    folder = "cc",
    rules = ["cc_binary", "cc_library", "cc_toolchain", "cc_toolchain_suite"],
)
built_in_rules(
    name = "rules_java",
    folder = "java",
    rules = ["java_import", "java_runtime", "java_toolchain"],
)
"""
BUILD = """
cc_binary(
    name = "server",
    srcs = ["server.cc"],
    deps = [
        "@org_tensorflow//tensorflow/core:framework",
        "@tfstylegan//:tfstylegan_ops",
    ],
)
"""
SERVER = """
#include <cstdio>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

int main() {
  const tensorflow::OpRegistrationData* op = nullptr;
  for (const char* name : {"TfstyleganUpfirdn2d", "TfstyleganFusedBiasAct"}) {
    if (!tensorflow::OpRegistry::Global()->LookUp(name, &op).ok()) return 1;
    std::printf("%s %d\\n", name,
                tensorflow::GetRegisteredKernelsForOp(name).kernel_size());
  }
}
"""
USES = """
import pathlib
import sys
import numpy as np
import tensorflow as tf
from tfstylegan import ops
x = tf.random.stateless_normal([2, 17, 15, 5], [0, 1])
results = []
for impl in ("reference", "compiled"):
    if impl == "compiled":
        ops.library._open(pathlib.Path(sys.argv[1]), "bazel")
    y = ops.upfirdn2d(x, [1, 3, 3, 1], up=2, padding=(2, 1, 2, 1), impl=impl)
    results.append(ops.fused_bias_act(y, np.arange(5.0), act="lrelu", impl=impl))
np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)
print(ops.library.describe())
"""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def build(tmp_path):
    """build(workspace, *targets) -> its bazel-bin; leaves no server behind."""
    if shutil.which("bazel") is None:
        pytest.skip("no bazel on the PATH")
    bazel = ["bazel", "--batch", f"--output_user_root={tmp_path / 'bazel'}"]
    options = [f"--bazelrc={ROOT / '.bazelrc'}"]
    env = {**os.environ, "PYTHON": sys.executable}

    def run_bazel(workspace, *targets):
        links = ["--symlink_prefix=/"]  # none in the checkout
        run([*bazel, *options, "build", *links, *targets], cwd=workspace, env=env)
        info = [*bazel, *options, "info", "--compilation_mode=opt", "bazel-bin"]
        return pathlib.Path(run(info, cwd=workspace, env=env).strip())

    yield run_bazel
    run(["chmod", "-R", "u+w", str(tmp_path)])  # its outputs are read-only


@pytest.mark.slow
def test_bazel_builds_a_library_that_loads(build):
    path = build(ROOT, "//:tfstylegan_ops.so") / "tfstylegan_ops.so"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TFSTYLEGAN_OPS": "compiled"}
    said = run([sys.executable, "-c", USES, str(path)], env=env)
    assert said == "compiled ops (bazel tfstylegan_ops.so)\n"


@pytest.mark.slow
def test_bazel_links_the_ops_into_another_program(build, tmp_path):
    workspace = tmp_path / "server"
    workspace.mkdir()
    (workspace / "WORKSPACE").write_text(WORKSPACE.format(root=ROOT))
    (workspace / "BUILD").write_text(BUILD)
    (workspace / "server.cc").write_text(SERVER)
    said = run([str(build(workspace, "//:server") / "server")]).splitlines()
    assert said == ["TfstyleganUpfirdn2d 4", "TfstyleganFusedBiasAct 4"]


def test_bazel_compiles_as_the_package_does():
    (options,) = re.findall(r"copts = \[(.*)\]", (ROOT / "BUILD").read_text())
    found = set(re.findall(r'"(.*?)"', options))
    assert found == set(building.FLAGS) - {"-fPIC"}  # Bazel adds it where needed
