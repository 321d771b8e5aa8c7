"""Hints at their knots, and none in sound runs."""

import pytest

from tfstylegan.training import hints


def tick(real=0.5, fake=-0.5, sign=0.5):
    return {"logits/real": real, "logits/fake": fake, "logits/real_sign": sign}


@pytest.mark.parametrize(
    "line, saturated",
    [
        (tick(sign=0.989), False),
        (tick(sign=0.99), True),
        (tick(sign=-1.0), False),
        (tick(real=49.9, fake=-49.9), False),
        (tick(real=50.0), True),
        (tick(fake=-50.0), True),
        ({"loss/g_main": 1.0}, False),
    ],
)
def test_saturation_at_its_knots(line, saturated):
    assert hints.saturates(line) == saturated


def test_saturation_is_told_once_for_each_onset():
    watch, told = hints.Hints(), []
    course = [1.0] * 4 + [0.5] + [1.0] * 7 + [0.9] + [1.0] * 5
    for number, sign in enumerate(course):
        told += [(number, text) for text in watch.add(tick(sign=sign))]
        watch.add({"usage/resolution_4": 0.5})  # a line between ticks changes nothing
    assert [number for number, _ in told] == [9, 17]
    assert "5 ticks" in told[0][1] and "config.augment" in told[0][1]
    assert watch.saturated_ticks == 5


@pytest.mark.parametrize(
    "course, onsets",
    [
        ([0.01, 0.05, 0.1], []),  # an untrained generator was never varied
        ([0.49, 0.05], []),
        ([0.5, 0.101], []),
        ([0.5, 0.1, 0.05], [1]),
        ([0.9, 0.05, 0.6, 0.05], [1, 3]),
    ],
)
def test_collapse_is_told_where_variety_is_lost(course, onsets):
    watch, told = hints.Hints(), []
    for number, value in enumerate(course):
        told += [number for _ in watch.add({"hint/variety": value})]
    assert told == onsets


def test_variety_is_relative_to_real_images():
    assert hints.variety(10.0, 40.0) == 0.25
    assert hints.variety(0.0, 0.0) == 1  # one image has no variety: nothing is said


def test_a_resumed_run_remembers_by_its_lines():
    lines = [tick(sign=1.0)] * 3 + [{"hint/variety": 0.8}]
    again = hints.Hints(lines)
    assert again.saturated_ticks == 3
    assert not again.add(tick(sign=1.0)) and again.add(tick(sign=1.0))
    assert again.add({"hint/variety": 0.01})
