"""What the workers of a run agree on. A run of one process agrees with itself.

All of them must call the same methods in the same order: each is a message to all. The
chief alone has the workdir; what it read there it shares.
"""

import zlib

import numpy as np
import tensorflow as tf


class Differ(Exception):
    """Replicas or workers that must be equal are not."""


def is_lost(error):
    """Whether an exception is TensorFlow's way to tell that a worker is gone."""
    kinds = tf.errors.UnavailableError, tf.errors.AbortedError
    return isinstance(error, kinds) or "Collective ops is aborted" in str(error)


class Workers:
    """The workers of a strategy.

    Args:
      strategy: of `devices.strategy`.
      cluster: a `cluster.Cluster`, or None for one process.
    """

    def __init__(self, strategy, cluster=None):
        self.strategy = strategy
        self.count = len(cluster.addresses) if cluster else 1
        self.index = cluster.index if cluster else 0
        self._compared = None

    @property
    def is_chief(self):
        """Whether this process writes."""
        return self.index == 0

    def everyones(self, values):
        """The integers [n] of every worker, [workers, n]."""
        values = np.asarray(values, np.int64)
        if self.count == 1:
            return values[np.newaxis]
        table = np.zeros([self.count, len(values)], np.int64)
        table[self.index] = values
        return self._sums([tf.constant(table)])[0].numpy()

    def of_chief(self, value):
        """The chief's integer; what the others pass is not looked at."""
        return int(self.everyones([value])[0, 0])

    def part(self):
        """Waits until all workers have come here; then they may end.

        To the chief, which has written all, it is the same if one has ended before.
        """
        try:
            self.everyones([0])
        except tf.errors.OpError as error:
            if not (self.is_chief and is_lost(error)):
                raise

    def check_same(self, what, text):
        """Raises ValueError on every worker where `text` is not the same on all."""
        digests = self.everyones([zlib.crc32(text.encode())])[:, 0]
        others = np.flatnonzero(digests != digests[0])
        if len(others):
            raise ValueError(
                f"all workers must have the same {what}; worker {others[0]} has "
                "another than worker 0"
            )

    def share(self, variables):
        """Sets variables, in order, to the values that the chief has."""
        if self.count == 1:
            return
        values = [tf.convert_to_tensor(variable) for variable in variables]
        if not self.is_chief:
            values = [tf.zeros_like(value) for value in values]
        for variable, value in zip(variables, self._sums(values), strict=True):
            variable.assign(value)

    def check_equal(self, variables, cur_nimg):
        """Raises Differ where a variable is not the same on all replicas.

        variables: {name: variable}. The same moment `cur_nimg` is looked at once.
        """
        if self.strategy.num_replicas_in_sync == 1 or self._compared == cur_nimg:
            return
        self._compared = cur_nimg
        digests = np.array([self._digests(v) for v in variables.values()]).T
        table = self.everyones(digests.ravel()).reshape([-1, len(variables)])
        for name, column in zip(variables, table.T, strict=True):
            others = np.flatnonzero(column != column[0])
            if len(others):
                raise Differ(
                    f"{name} is not the same on replica {others[0]} as on replica 0 "
                    f"at kimg {cur_nimg / 1000:g}: the run would not be that of one "
                    "model; the same command goes on from the newest checkpoint"
                )

    def _digests(self, variable):
        """A checksum of the variable's bits on every replica of this worker."""
        local = self.strategy.experimental_local_results(variable)
        return [zlib.crc32(copy.numpy().tobytes()) for copy in local]

    @tf.function(autograph=False)
    def _summed(self, values):
        """Sums over the workers of tensors that each has one of, on every replica."""
        replicas = self.strategy.num_replicas_in_sync // self.count

        def sums(*values):
            context = tf.distribute.get_replica_context()
            has_them = tf.equal(context.replica_id_in_sync_group % replicas, 0)
            values = [tf.where(has_them, v, tf.zeros_like(v)) for v in values]
            sums = [None] * len(values)
            for kind in {value.dtype: None for value in values}:  # one message each
                places = [i for i, value in enumerate(values) if value.dtype == kind]
                of_kind = context.all_reduce(
                    tf.distribute.ReduceOp.SUM, [values[i] for i in places]
                )
                for i, value in zip(places, of_kind, strict=True):
                    sums[i] = value
            return sums

        return self.strategy.run(sums, args=values)

    def _sums(self, values):
        first = self.strategy.experimental_local_results
        return [first(value)[0] for value in self._summed(values)]
