"""Processes that train, for the benchmarks that let several take turns.

`Trainer` starts this file as a program, which reads a configuration and then requests
on standard input, one a line, and answers each with a line of JSON.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from training_cycles import Cycles, peak_gib


class Trainer:
    """A process that trains a `config.Config` when it is asked to.

    `ask("cycle")` trains for a cycle and gives its seconds, "images" the images of
    one, "memory" the peak of resident memory in GiB, "parameters" those of G and D,
    "profile" the seconds of a cycle in ops of each type.
    """

    def __init__(self, config, **environment):
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._send(json.dumps(config.to_json()))

    def ask(self, request):
        """The answer; where the process has failed this one ends as well."""
        self._send(request)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"error: a trainer ended with status {self._process.wait()}")
        return json.loads(answer)

    def close(self):
        self._process.stdin.close()
        self._process.wait()

    def _send(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def main():
    from tfstylegan import config as config_lib
    from tfstylegan.training import allocator

    allocator.keep_freed_memory()
    cycles = Cycles(config_lib.from_json(json.loads(sys.stdin.readline())))
    networks = cycles.state.g, cycles.state.d
    answers = {
        "cycle": lambda: seconds_of(cycles.run),
        "images": lambda: cycles.images_of_one,
        "memory": peak_gib,
        "parameters": lambda: [
            sum(v.value.shape.num_elements() for v in network.trainable_variables)
            for network in networks
        ],
        "profile": lambda: seconds_by_type(cycles.run),
    }
    for request in sys.stdin:
        print(json.dumps(answers[request.strip()]()), flush=True)


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def seconds_by_type(function):
    """{type of op: seconds in its kernels} of a call."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            function()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    seconds = collections.Counter()
    for plane in space.planes:
        # Events of kernels are named "node:type" and display the type.
        types = {
            key: data.display_name
            for key, data in plane.event_metadata.items()
            if data.display_name and data.name.endswith(f":{data.display_name}")
        }
        for line in plane.lines:
            for event in line.events:
                if event.metadata_id in types:
                    seconds[types[event.metadata_id]] += event.duration_ps / 1e12
    return seconds


if __name__ == "__main__":
    main()
