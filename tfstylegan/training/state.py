"""Everything that a bit-exact continuation of a run needs, in one checkpoint.

Random numbers and the position in the data are functions of (seed, step, cur_nimg), so
the two counters stand for them.
"""

import dataclasses

import keras
import tensorflow as tf

from tfstylegan.networks import build, storage
from tfstylegan.training import adaptive, freezing, loss_scale, schedules


@dataclasses.dataclass
class State:
    """Networks, optimizers and counters of a run."""

    g: keras.Model
    d: keras.Model
    g_ema: keras.Model
    g_optimizer: keras.optimizers.Optimizer
    d_optimizer: keras.optimizers.Optimizer
    pl_mean: tf.Variable  # running mean of the path length
    step: tf.Variable  # training steps done
    cur_nimg: tf.Variable  # real images seen
    augment: adaptive.Controller | None = None  # where D sees augmented images

    def checkpoint(self):
        """A checkpoint of everything; its keys are the field names."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if self.augment is None:
            del fields["augment"]
        for name, field in fields.items():
            if not isinstance(field, (tf.Variable, adaptive.Controller)):
                fields[name] = storage.variables_by_path(field)
        return tf.train.Checkpoint(**fields)

    def variables(self):
        """{name: tf.Variable} of everything that a checkpoint has, in a fixed order."""
        found = {}
        for field in dataclasses.fields(self):
            owner = getattr(self, field.name)
            if isinstance(owner, tf.Variable):
                found[field.name] = owner
                continue
            if owner is None:
                continue
            if isinstance(owner, adaptive.Controller):
                parts = vars(owner).items()
                owned = {name: v for name, v in parts if isinstance(v, tf.Variable)}
            else:
                owned = storage.variables_by_path(owner)
            found |= {f"{field.name}/{path}": v for path, v in owned.items()}
        return found


def create(config, label_dim):
    """A fresh state; call it inside the strategy's scope.

    Optimizers are built here: restoring needs their variables to exist.
    """
    g = build.build_generator(config, label_dim)
    d = build.build_discriminator(config, label_dim)
    freezing.freeze(d, config.discriminator.freeze_layers)
    g_ema = build.build_generator(config, label_dim)  # same seed: the same start
    g_interval, d_interval = lazy_intervals(config.loss)
    optimizer = config.optimizer
    return State(
        g=g,
        d=d,
        g_ema=g_ema,
        g_optimizer=_adam("g_optimizer", g, config, optimizer.g_lr, g_interval),
        d_optimizer=_adam("d_optimizer", d, config, optimizer.d_lr, d_interval),
        pl_mean=tf.Variable(
            0.0, trainable=False, aggregation=tf.VariableAggregation.MEAN
        ),
        step=tf.Variable(0, dtype=tf.int64, trainable=False),
        cur_nimg=tf.Variable(0, dtype=tf.int64, trainable=False),
        augment=adaptive.create(config.augment),
    )


def lazy_intervals(loss):
    """Steps between regularisations of G and of D, as Adam is corrected for; 0 = not.

    With `loss.lazy` it is corrected even where a network has no regulariser, as in row
    C of StyleGAN2's table 1.
    """
    return (loss.pl_interval, loss.r1_interval) if loss.lazy else (0, 0)


def _adam(name, network, config, lr, interval):
    optimizer = config.optimizer
    lr, beta1, beta2 = schedules.lazy_adam(
        lr, optimizer.beta1, optimizer.beta2, interval
    )
    adam = keras.optimizers.Adam(lr, beta1, beta2, epsilon=optimizer.epsilon, name=name)
    adam = loss_scale.scaled(adam, config)
    adam.build(network.trainable_variables)
    return adam
