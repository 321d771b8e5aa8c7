"""What tensorflow-addons computes on fixed inputs, for tests/test_parity.py.

Runs in the environment of requirements.txt only (Keras 2; nothing of tfstylegan) and
writes numbers.npz; `make parity` makes that environment and calls this with --check.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # Its sums depend on the kind of CPU.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

NUMBERS = pathlib.Path(__file__).with_name("numbers.npz")
PACKAGES = ("tensorflow-addons", "tensorflow-cpu", "keras", "numpy")
# Of the largest magnitude in an array: float32 sums in another order differ so much.
TOLERANCE = 1e-6
EPSILON = 1e-8


def normal(seed, *shape):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def feature_maps(seed):
    """x and the gradient dy of a loss, [3, 6, 5, 4], that try mean and epsilon."""
    x, dy = normal(seed, 2, 3, 6, 5, 4)
    x[0, :, :, 0] += 4  # a mean well above the deviation
    x[1, :, :, 1] *= 1e-4  # variance like epsilon
    x[2, :, :, 2] = 1  # no variance
    dy[[1, 2], :, :, [1, 2]] *= 1e-4  # The gradient of x is then like that elsewhere.
    return x, dy


def instance_norm():
    x, dy = feature_maps(0)
    layer = tfa.layers.InstanceNormalization(epsilon=EPSILON, center=False, scale=False)
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        y = layer(inputs)
    dx = tape.gradient(y, inputs, dy)
    return {"x": x, "y": y, "dy": dy, "dx": dx}


def adain():
    """Instance norm, then x (s0 + 1) + s1 with the style (s0, s1) [N, 2, C] of w."""
    x, dy = feature_maps(1)
    w, kernel, bias = normal(2, 3, 8), 0.5 * normal(3, 8, 8), 0.2 * normal(4, 8)
    layer = tfa.layers.InstanceNormalization(epsilon=EPSILON, center=False, scale=False)
    affine = tf.keras.layers.Dense(8)
    affine.build(w.shape)
    affine.set_weights([kernel, bias])
    with tf.GradientTape() as tape:
        inputs = tf.constant(x), tf.constant(w)
        tape.watch(inputs)
        style = tf.reshape(affine(inputs[1]), [-1, 2, 4])
        y = tf.einsum("nhwc,nc->nhwc", layer(inputs[0]), style[:, 0] + 1)
        y += style[:, 1, None, None, :]
    dx, dw = tape.gradient(y, inputs, dy)
    weights = {"kernel": kernel, "bias": bias}
    return {"x": x, "w": w, **weights, "y": y, "dy": dy, "dx": dx, "dw": dw}


def spectral_norm(power_iterations):
    """Five calls, the kernel moved before each as by an optimizer; the last infers."""
    x = normal(5, 5, 2, 5, 4, 3)
    kernel, bias, u = normal(6, 3, 3, 3, 6), normal(7, 6), normal(8, 1, 6)
    moves = 0.05 * normal(9, 5, *kernel.shape)
    convolution = tf.keras.layers.Conv2D(6, 3, padding="same")
    layer = tfa.layers.SpectralNormalization(convolution, power_iterations)
    layer.build(x[0].shape)
    convolution.set_weights([kernel, bias])
    layer.u.assign(u)
    steps = []
    for i, move in enumerate(moves):
        convolution.kernel.assign_add(move)
        y = layer(tf.constant(x[i]), training=i < len(x) - 1)
        steps.append((y.numpy(), convolution.kernel.numpy(), layer.u.numpy()))
    y, kernels, us = map(np.stack, zip(*steps))
    inputs = {"x": x, "kernel": kernel, "bias": bias, "u": u, "moves": moves}
    return inputs | {"y": y, "kernels": kernels, "us": us}


def moving_average(inner, decays):
    """Weights and their averages after each step, the decay of each step given."""
    weights = normal(10, 4, 3), normal(11, 3)
    gradients = normal(12, len(decays), 4, 3), normal(13, len(decays), 3)
    variables = [tf.Variable(weight) for weight in weights]
    optimizer = tfa.optimizers.MovingAverage(inner)
    decay = tf.Variable(0.0)
    optimizer.average_decay = decay
    steps = []
    for i, value in enumerate(decays):
        decay.assign(value)
        optimizer.apply_gradients(zip([g[i] for g in gradients], variables))
        averages = [optimizer.get_slot(v, "average") for v in variables]
        steps.append([v.numpy() for v in (*variables, *averages)])
    after = map(np.stack, zip(*steps))
    result = {"decays": np.float32(decays)}
    for name, arrays in (("weights", weights), ("gradients", gradients)):
        result |= {f"{name}/{i}": array for i, array in enumerate(arrays)}
    for name in ("after/0", "after/1", "averages/0", "averages/1"):
        result[name] = next(after)
    return result


def compute():
    """{"part/name": array}, and the versions as JSON under "meta"."""
    optimizers = tf.keras.optimizers.legacy
    # Half-life min(10, half of the images seen), 4 images a step.
    ramp = [0.5 ** (4 / min(10, 0.5 * 4 * step)) for step in range(1, 9)]
    parts = {
        "instance_norm": instance_norm(),
        "adain": adain(),
        "spectral_norm_1": spectral_norm(1),
        "spectral_norm_3": spectral_norm(3),
        "ema_sgd": moving_average(optimizers.SGD(0.3), [0.9] * 8),
        "ema_adam": moving_average(optimizers.Adam(0.1, 0.0, 0.99, 1e-8), ramp),
    }
    numbers = {
        f"{part}/{name}": np.asarray(array)
        for part, arrays in parts.items()
        for name, array in arrays.items()
    }
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    numbers["meta"] = np.frombuffer(json.dumps(versions).encode(), np.uint8)
    return numbers


def load(path):
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def differences(numbers, committed):
    """One line for each array that is not equal within TOLERANCE, named."""
    for key in sorted(numbers.keys() | committed.keys()):
        if key not in committed or key not in numbers:
            yield f"{key}: only in {'new' if key in numbers else 'committed'} numbers"
            continue
        new, old = numbers[key], committed[key]
        if (new.shape, new.dtype) != (old.shape, old.dtype):
            kinds = [f"{a.dtype}{list(a.shape)}" for a in (new, old)]
            yield f"{key}: {kinds[0]}, committed {kinds[1]}"
        elif key == "meta":
            if not np.array_equal(new, old):
                yield f"meta: {bytes(new).decode()}, committed {bytes(old).decode()}"
        else:
            largest = np.max(np.abs(new - old))
            limit = TOLERANCE * np.max(np.abs(old))
            if not largest <= limit:  # NaN as well
                yield f"{key}: differs by up to {largest:.3g}, more than {limit:.3g}"


def check():
    """Regenerates the numbers into a temporary file; exits 1 if they are others."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, NUMBERS.name)
        np.savez_compressed(path, **compute())
        numbers, committed = load(path), load(NUMBERS)
    found = list(differences(numbers, committed))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        sys.exit(f"{len(found)} of {len(numbers)} arrays are not the committed ones")
    print(f"{len(numbers)} arrays equal the committed ones within {TOLERANCE} relative")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="compare with numbers.npz; write nothing"
    )
    if parser.parse_args().check:
        check()
    else:
        np.savez_compressed(NUMBERS, **compute())
        print(f"{NUMBERS}: {NUMBERS.stat().st_size} bytes")


if __name__ == "__main__":
    main()
