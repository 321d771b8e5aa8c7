"""Lazy regularisation and the moving average of G, at published and knot values."""

import itertools
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


SG1 = (7, 600.0, 600.0)  # 1024x1024 from 8x8


@pytest.mark.parametrize(
    "kimg, lod, resolution",
    [
        (0, 7, 8),
        (600, 7, 8),
        (600.032, 7 - 0.032 / 600, 16),
        (900, 6.5, 16),
        (1200, 6, 16),
        (1800, 6, 16),
        (1801, 6 - 1 / 600, 32),
        (2400, 5, 32),
        (3000, 5, 32),
        (7200, 1, 512),
        (7800, 1, 512),
        (8399, 1 / 600, 1024),
        (8400, 0, 1024),
        (9100, 0, 1024),
        (25000, 0, 1024),
    ],
)
def test_oracle_lod_at_1024(kimg, lod, resolution):
    got = schedules.lod(round(kimg * 1000), *SG1)
    assert got == pytest.approx(lod, abs=1e-9)
    assert schedules.resolution(1024, got) == resolution


def test_lod_falls_steadily_and_only_while_fading():
    lods = [schedules.lod(n, 3, 0.3, 0.1) for n in range(0, 1500, 10)]
    assert lods[:31] == [3] * 31
    assert lods[31] == pytest.approx(2.9)
    assert lods[40:71] == [2] * 31
    assert all(0 <= a - b < 0.1 + 1e-9 for a, b in itertools.pairwise(lods))
    assert lods[120:] == [0] * 30


def test_lod_without_fading_or_without_training_at_a_resolution():
    assert [schedules.lod(n, 2, 0.1, 0.0) for n in (0, 99, 100, 199, 200, 999)] == [
        *(2, 2, 1, 1, 0, 0)
    ]
    assert [schedules.lod(n, 2, 0.0, 0.1) for n in (0, 50, 100, 150, 200)] == [
        *(2, 1.5, 1, 0.5, 0)
    ]


def test_lod_of_what_does_not_grow_is_zero():
    assert {schedules.lod(n, 0, 600.0, 600.0) for n in (0, 10**6, 10**8)} == {0}


def test_resolutions_start_as_they_fade_in():
    starts = schedules.resolution_starts(*SG1)
    assert starts[:4] == [0, 600_000, 1_800_000, 3_000_000]
    assert starts[-1] == 7_800_000
    for start, resolution in zip(starts[1:], (16, 32, 64), strict=False):
        lods = [schedules.lod(n, *SG1) for n in (start, start + 1)]
        found = [schedules.resolution(1024, lod) for lod in lods]
        assert found == [resolution // 2, resolution]
    assert schedules.resolution_starts(2, 0.0, 0.1) == [0, 0, 100]
    assert schedules.resolution_starts(0, 600.0, 600.0) == [0]


@pytest.mark.parametrize(
    "kimg, number, end_kimg",
    [
        (0, 1, 140),
        (139.999, 1, 140),
        (140, 2, 280),
        (559, 4, 560),
        (560, 5, 600),  # where 16x16 starts
        (600, 6, 720),
        (1799, 15, 1800),
        (1800, 16, 1900),
        (2999, 27, 3000),
        (3000, 28, 3080),
    ],
)
def test_ticks_have_the_length_of_their_resolution(kimg, number, end_kimg):
    starts = schedules.resolution_starts(*SG1)[:4]
    lengths = [140_000, 120_000, 100_000, 80_000]
    got = schedules.tick(round(kimg * 1000), starts, lengths)
    assert got == (number, end_kimg * 1000)


def test_ticks_of_one_length():
    for cur_nimg, expected in {
        0: (1, 7),
        6: (1, 7),
        7: (2, 14),
        700: (101, 707),
    }.items():
        assert schedules.tick(cur_nimg, [0], [7]) == expected


def test_schedules_and_config_import_no_tensorflow():
    code = (
        "import sys; import tfstylegan.training.schedules, tfstylegan.config; "
        "print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
