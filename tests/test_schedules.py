"""Lazy regularisation and the moving average of G, at published and knot values."""

import subprocess
import sys

import pytest

from tfstylegan.training import schedules


@pytest.mark.parametrize(
    "interval, lr, beta2",
    [(4, 0.0016, 0.9919919678), (16, 0.0018823529, 0.9905854573), (0, 0.002, 0.99)],
)
def test_oracle_lazy_adam(interval, lr, beta2):
    got_lr, beta1, got_beta2 = schedules.lazy_adam(0.002, 0.0, 0.99, interval)
    assert got_lr == pytest.approx(lr, rel=1e-7)
    assert beta1 == 0
    assert got_beta2 == pytest.approx(beta2, rel=1e-9)


def test_lazy_adam_corrects_beta1_like_beta2():
    _, beta1, beta2 = schedules.lazy_adam(0.002, 0.9, 0.9, 4)
    assert beta1 == beta2 == pytest.approx(0.9**0.8)


@pytest.mark.parametrize(
    "batch_size, decay",
    [
        (32, 0.9977843871),
        (64, 0.9955736832),
        (512, 0.9651332197),
        (4, 0.9997227796),
    ],
)
def test_oracle_ema_decay_of_ten_kimg(batch_size, decay):
    got = schedules.ema_decay(10**9, batch_size, 10.0)
    assert got == pytest.approx(decay, rel=1e-9)


def test_ema_decay_halves_in_a_half_life():
    steps = 2000 // 16
    assert schedules.ema_decay(0, 16, 2.0) ** steps == pytest.approx(0.5)


@pytest.mark.parametrize(
    "cur_nimg, halflife",
    [
        (1000, 50),
        (100_000, 5_000),
        (199_999, 9_999.95),
        (200_000, 10_000),
        (200_001, 10_000),
        (10**8, 10_000),
    ],
)
def test_ema_rampup_limits_the_half_life_until_its_knot(cur_nimg, halflife):
    got = schedules.ema_decay(cur_nimg, 32, 10.0, rampup=0.05)
    assert got == pytest.approx(0.5 ** (32 / halflife), rel=1e-9)


def test_ema_rampup_starts_as_a_copy():
    assert schedules.ema_decay(0, 32, 10.0, rampup=0.05) == 0


def test_schedules_and_config_import_no_tensorflow():
    code = (
        "import sys; import tfstylegan.training.schedules, tfstylegan.config; "
        "print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
