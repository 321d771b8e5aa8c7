"""The headers and the library of the installed TensorFlow, as @org_tensorflow."""

_ASK = """
import tensorflow as tf
print(tf.sysconfig.get_include())
print(tf.sysconfig.get_lib())
print(*[f[2:] for f in tf.sysconfig.get_compile_flags() if f.startswith("-D")])
"""

# The one target stands for both, as the wheel has them in one library.
_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "installed",
    srcs = ["{library}"],
    hdrs = glob(["include/**"]),
    defines = {defines},
    includes = ["include"],
)
"""

_CORE = """
package(default_visibility = ["//visibility:public"])

alias(name = "framework", actual = "//:installed")

alias(name = "lib", actual = "//:installed")
"""

def _installed_tensorflow(repository):
    name = repository.os.environ.get("PYTHON", "python3")
    python = name if "/" in name else repository.which(name)
    if not python:
        fail("there is no %s on the PATH: set PYTHON" % name)
    asked = repository.execute([python, "-c", _ASK])
    if asked.return_code:
        fail("%s has no TensorFlow, set PYTHON:\n%s" % (python, asked.stderr))
    include, lib, defines = asked.stdout.splitlines()[-3:]
    library = "libtensorflow_framework.so.2"
    repository.symlink(include, "include")
    repository.symlink(lib + "/" + library, library)
    repository.file(
        "BUILD",
        _BUILD.format(library = library, defines = repr(defines.split(" "))),
    )
    repository.file("tensorflow/core/BUILD", _CORE)

installed_tensorflow = repository_rule(
    implementation = _installed_tensorflow,
    environ = ["PATH", "PYTHON"],
    local = True,
)
