"""Names of metrics."""

import pytest

from tfstylegan import metric_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pixel_frechet", {"kind": "pixel_frechet", "detector": "pixels"}),
        ("fid50k", {"kind": "fid", "detector": "inception", "count": 50_000}),
        ("fid50k_full", {"kind": "fid", "count": 50_000, "full": True}),
        ("fid512", {"kind": "fid", "count": 512}),
        ("classifier_fid5k", {"detector": "classifier", "count": 5000}),
        ("kid50k", {"kind": "kid", "full": False}),
        ("is50k", {"kind": "is", "needs": "probabilities"}),
        ("pr50k3", {"kind": "pr", "k": 3, "detector": "vgg16", "count": 50_000}),
        ("pr50k3_full", {"kind": "pr", "k": 3, "full": True}),
        ("pr500k3", {"k": 3, "count": 500_000, "full": False}),
        ("pr3_500", {"kind": "pr", "k": 3, "count": 500, "full": False}),
        ("pixels_dc12_2k_full", {"k": 12, "count": 2000, "full": True}),
        ("discriminator_dc1k5", {"kind": "dc", "k": 5, "count": 1000}),
        ("ppl_zfull", {"space": "z", "ends": False, "crop": True, "count": 50_000}),
        ("ppl2_wend", {"space": "w", "ends": True, "crop": False}),
        ("discriminator_ppl2_wend_1k", {"count": 1000, "needs": "distance"}),
        ("ls", {"kind": "ls", "detector": "celebahq", "count": 200_000}),
        ("classifier_ls_400", {"kind": "ls", "count": 400}),
        ("resolution_usage", {"kind": "resolution_usage", "count": 1024}),
        ("resolution_usage64", {"detector": None, "needs": None, "count": 64}),
    ],
)
def test_names_say_what_is_measured(name, expected):
    metric = metric_names.parse(name)
    assert metric.name == name and metric.description
    assert metric.more_is_better == (metric.kind in ("is", "pr", "dc"))
    assert metric.ranks == (metric.kind != "resolution_usage")
    assert {key: getattr(metric, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fid", "there is no metric 'fid'; there are pixel_frechet, fid50k"),
        ("fid0", "no metric 'fid0'"),
        ("pr10003", "no metric 'pr10003'"),
        ("pr3_0", "no metric 'pr3_0'"),
        ("pr0_5", "no metric 'pr0_5'"),
        ("inception_fid5k", "is called 'fid5k'"),
        ("classifier_pixel_frechet", "is called 'pixel_frechet'"),
        ("classifier_resolution_usage", "is called 'resolution_usage'"),
        ("resolution_usage_64", "no metric 'resolution_usage_64'"),
        ("lpips_fid5k", "lpips has no features for it"),
        ("magic_fid5k", "no metric 'magic_fid5k'"),
        ("", "no metric ''"),
    ],
)
def test_names_that_say_nothing_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        metric_names.parse(name)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("fid5k", "fid5k"),
        ("is5k", "is5k_mean"),
        ("classifier_pr5k3_full", "classifier_pr5k3_full_precision"),
        ("dc5_70", "dc5_70_density"),
        ("resolution_usage64", "resolution_usage64_finest"),
    ],
)
def test_first_values_have_names(name, first):
    assert metric_names.first_value(name) == first
