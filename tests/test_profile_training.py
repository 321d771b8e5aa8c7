"""tools/profile_training.py: which convolutions are counted, and what it relates."""

import sys

import pytest
import tensorflow as tf
from test_commands import ROOT, fails, run

sys.path.insert(0, str(ROOT / "tools"))

import profile_training

TINY = (
    "--config=configs/yardstick32.py",
    "--config.data.resolution=8",
    "--config.generator.fmap_max=32",
    "--config.discriminator.fmap_max=32",
    "--cycles=1",
)


def test_counts_what_a_call_runs_with_the_products_of_the_direct_sum():
    """The gradient of x, which nobody asks for, is in the graph and does not run."""
    x, w = tf.zeros([2, 9, 9, 3]), tf.zeros([3, 3, 3, 5])

    @tf.function
    def gradient(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.nn.relu(tf.nn.conv2d(x, w, 2, "VALID"))  # [2, 4, 4, 5]
        return tape.gradient(y, [x, w])[1]

    graph = gradient.get_concrete_function(x, w).graph
    assert "Conv2DBackpropInput" in {op.type for op in graph.get_operations()}
    found = [
        profile_training.described(op)
        for op in profile_training.needed(graph)
        if op.type in profile_training.KERNELS
    ]
    assert {kind for kind, *_ in found} == {"Conv2D", "Conv2DBackpropFilter"}
    products = 2 * 4 * 4 * 5 * (3 * 3 * 3)
    for convolution in found:
        assert profile_training.gflop(*convolution) == pytest.approx(2e-9 * products)
        assert profile_training.alone_seconds(*convolution) > 0


@pytest.mark.parametrize(
    "kind, shapes",
    [
        ("Conv2DBackpropInput", ((4,), (3, 3, 64, 32), (2, 8, 8, 32), (2, 8, 8, 64))),
        ("TfstyleganConv3x3", ((2, 8, 8, 64), (3, 3, 64, 32), (2, 8, 8, 32))),
        ("TfstyleganConv3x3KernelGrad", ((2, 8, 8, 64), (2, 8, 8, 32), (3, 3, 64, 32))),
    ],
)
def test_every_form_of_a_convolution_has_the_same_products(kind, shapes):
    expected = 2e-9 * 2 * 8 * 8 * 32 * (3 * 3 * 64)
    found = profile_training.gflop(kind, tf.float32, shapes, (1, 1, 1, 1), "SAME")
    assert found == pytest.approx(expected)


@pytest.mark.slow
def test_profile_relates_its_figures():
    result = run("tools/profile_training.py", *TINY)
    assert result.returncode == 0, result.stderr
    rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines()]
    rows = {row[0]: row[1:] for row in rows if len(row) > 1}
    shares = [
        float(rows[name][1].rstrip("%")) for name in ("g_main", "g_reg", "d_main")
    ]
    assert 0 < sum(shares) < 100
    number, work, seconds, rate = map(float, rows["all"])
    kinds = [row for name, row in rows.items() if name.endswith(")")]
    assert len(kinds) >= 3
    for i, total in enumerate((number, work, seconds)):
        assert sum(float(row[i]) for row in kinds) == pytest.approx(total, abs=0.03)
    assert rate == pytest.approx(work / seconds, rel=0.05, abs=1)
    at_rate = float(rows["at the matrix product's rate"][0])
    assert at_rate == pytest.approx(16 * 32 / work, rel=0.01)


def test_rounds_are_refused():
    fails(
        run(
            "tools/profile_training.py", *TINY, "--config.train.max_batch_per_device=16"
        ),
        "max_batch_per_device",
        "got 16",
    )
