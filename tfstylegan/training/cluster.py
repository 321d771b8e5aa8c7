"""Which of several machines this process is: what TF_CONFIG says (no TensorFlow).

TF_CONFIG is JSON, as tf.distribute reads it:
{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker",
"index": 0}}. A job "chief" of one task may come before the workers.
"""

import dataclasses
import json
import os

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")  # in the order of their numbers


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Worker number `index` of `addresses`; number 0 is the chief."""

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self):
        """Whether this process writes."""
        return self.index == 0


def find(strategy):
    """The `Cluster` of a `config.train.strategy`; None for a run of one process.

    Raises ValueError where TF_CONFIG is needed and missing, or cannot be right.
    """
    text = os.environ.get(VARIABLE, "")
    if strategy not in ("auto", "multi_worker"):
        return None
    if not text:
        if strategy == "multi_worker":
            raise ValueError(
                "config.train.strategy 'multi_worker' needs the environment variable "
                f"{VARIABLE}; it is not set"
            )
        return None
    cluster = _parsed(text)
    return None if strategy == "auto" and len(cluster.addresses) == 1 else cluster


def _parsed(text):
    try:
        of = json.loads(text)
        jobs, task = of["cluster"], of["task"]
        kind, index = task["type"], int(task["index"])
        addresses = {name: tuple(jobs[name]) for name in jobs}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{VARIABLE} must be JSON with a cluster and this process' task type and "
            f"index; got {text}"
        ) from error
    if set(addresses) - set(JOBS) or len(addresses.get("chief", ())) > 1:
        raise ValueError(
            f"{VARIABLE} must have workers, and at most one chief; got {text}"
        )
    if not 0 <= index < len(addresses.get(kind, ())):
        raise ValueError(
            f"{VARIABLE} must have its own task in the cluster; got {text}"
        )
    every = [address for job in JOBS for address in addresses.get(job, ())]
    if kind == "worker":
        index += len(addresses.get("chief", ()))
    return Cluster(addresses=tuple(every), index=index)
