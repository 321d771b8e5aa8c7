"""Freeze-D: which layers stay, and that training leaves them alone."""

import numpy as np
import pytest
import tensorflow as tf
import test_steps

from tfstylegan.training import freezing
from tfstylegan.training import state as state_lib

ORDER = {
    "orig": [
        *(["16x16_from_rgb"], ["16x16_conv"], ["16x16_conv_down"]),
        *(["8x8_conv"], ["8x8_conv_down"]),
    ],
    "resnet": [
        *(["16x16_from_rgb"], ["16x16_conv"], ["16x16_conv_down", "16x16_skip"]),
        *(["8x8_conv"], ["8x8_conv_down", "8x8_skip"]),
    ],
    "skip": [
        *(["16x16_from_rgb"], ["16x16_conv"], ["16x16_conv_down", "8x8_from_rgb"]),
        *(["8x8_conv"], ["8x8_conv_down", "4x4_from_rgb"]),
    ],
}
ORDER["growing"] = ORDER["skip"]


def config_with(architecture, count):
    config = test_steps.tiny_config()
    config.discriminator.architecture = architecture
    config.discriminator.freeze_layers = count
    return config.validate()


@pytest.mark.parametrize("architecture", ORDER)
@pytest.mark.parametrize("count", [0, 3, 5])
def test_layers_freeze_from_the_image_on(architecture, count):
    d = state_lib.create(config_with(architecture, count), 0).d
    trained = {v.path.split("/")[-2] for v in d.trainable_variables}
    every = {v.path.split("/")[-2] for v in d.variables} - {"discriminator"}
    frozen = [name for group in ORDER[architecture][:count] for name in group]
    assert every - trained == set(frozen)
    assert {"4x4_conv", "dense", "output"} <= trained
    assert len(freezing._from_image(d)) == 5


def test_training_leaves_frozen_layers_alone_and_checkpoints_them(tmp_path):
    rig = test_steps.Rig(["CPU:0"], config=config_with("resnet", 3))
    d = rig.state.d
    before = {v.path: v.numpy() for v in d.variables}
    tf.config.run_functions_eagerly(True)
    try:
        rig.gradients("d_main")
        rig.gradients("d_reg")
    finally:
        tf.config.run_functions_eagerly(False)
    frozen = {path for path, old in before.items() if "16x16" in path and np.ndim(old)}
    assert len(frozen) == 7
    for variable in d.variables:
        same = np.array_equal(before[variable.path], variable.numpy())
        assert same == (variable.path in frozen), variable.path
    state = state_lib.create(config_with("resnet", 3), 0)
    path = state.checkpoint().save(str(tmp_path / "ckpt"))
    names = [name for name, _ in tf.train.list_variables(path)]
    assert any("16x16_from_rgb" in name for name in names if name.startswith("d/"))
    again = state_lib.create(config_with("resnet", 3), 0)
    again.checkpoint().restore(path).assert_consumed()
