"""Minibatch standard deviation (ProGAN, section 3)."""

import keras
import tensorflow as tf

EPSILON = 1e-8


@keras.saving.register_keras_serializable("tfstylegan")
class MinibatchStddev(keras.layers.Layer):
    """Appends the deviation within groups of samples: [N, H, W, C] -> [.., C + F].

    The members of a group are N / G samples apart (G = min(group_size, N), which must
    divide N). Each of the F = `num_features` maps is the standard deviation over a
    group, averaged over space and C / F channels.
    """

    def __init__(self, group_size=4, num_features=1, **kwargs):
        super().__init__(**kwargs)
        if group_size < 1:
            raise ValueError(f"group_size must be at least 1; got {group_size}")
        if num_features < 1:
            raise ValueError(f"num_features must be at least 1; got {num_features}")
        self.group_size = group_size
        self.num_features = num_features

    def build(self, input_shape):
        if input_shape[-1] % self.num_features:
            raise ValueError(
                f"num_features must divide the channels {input_shape[-1]}; "
                f"got {self.num_features}"
            )

    def call(self, x):
        _, height, width, channels = x.shape
        batch = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
        group = self._group(batch)
        features = self.num_features
        y = x
        if x.dtype in (tf.float16, tf.bfloat16):
            y = tf.cast(x, tf.float32)  # squares of small differences
        y = tf.reshape(
            y, [group, -1, height, width, features, channels // features]
        )  # [G, N/G, H, W, F, C/F]
        y = y - tf.reduce_mean(y, axis=0, keepdims=True)
        y = tf.sqrt(tf.reduce_mean(tf.square(y), axis=0) + EPSILON)
        y = tf.reduce_mean(y, axis=(1, 2, 4))  # [N/G, F]
        y = tf.tile(y, [group, 1])[:, tf.newaxis, tf.newaxis, :]  # [N, 1, 1, F]
        y = tf.broadcast_to(y, [batch, height, width, features])
        return tf.concat([x, tf.cast(y, x.dtype)], axis=-1)

    def _group(self, batch):
        if tf.is_tensor(batch):
            group = tf.minimum(self.group_size, batch)
            message = f"the batch must be a multiple of group_size {self.group_size}"
            check = tf.debugging.assert_equal(batch % group, 0, message)
            with tf.control_dependencies([check] if check is not None else []):
                return tf.identity(group)
        group = min(self.group_size, batch)
        if batch % group:
            raise ValueError(
                f"the batch must be a multiple of group_size {self.group_size}; "
                f"got {batch}"
            )
        return group

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + self.num_features)

    def get_config(self):
        return {
            **super().get_config(),
            "group_size": self.group_size,
            "num_features": self.num_features,
        }
