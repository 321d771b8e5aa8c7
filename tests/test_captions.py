"""Words around pictures: where they are, and that cells stay as they were."""

import sys

import latent_models
import numpy as np
import PIL.Image
import pytest
import tool_runs

sys.path.insert(0, str(tool_runs.TOOLS))
import captions


def test_pictures_have_words_around_them_and_pixels_to_be_seen(tmp_path):
    flags = ("--seeds=5,6", "--psis=1,0.25,-10.5")
    latent_models.small_model(tmp_path / "model")
    for outdir, layout in (("bare", ("--scale=1", "--nocaptions")), (".", ())):
        place = (f"--model={tmp_path / 'model'}", f"--outdir={tmp_path / outdir}")
        tool_runs.succeeds("truncation_sweep", *place, *flags, *layout)
    bare, picture = (
        np.asarray(PIL.Image.open(folder / "truncation_sweep.png"))
        for folder in (tmp_path / "bare", tmp_path)
    )
    inside = picture[-128:, -192:]  # sides of 16 pixels are 64 now
    np.testing.assert_array_equal(inside, bare.repeat(4, axis=0).repeat(4, axis=1))
    heads, sides = picture[:-128], picture[-128:, :-192]
    words = [*np.split(heads[:, -192:], 3, axis=1), *np.split(sides, 2)]
    for word in words:
        edges = (word[0], word[-1], word[:, 0], word[:, -1])
        assert all(np.all(edge == 255) for edge in edges)  # nothing is cut off
        assert word.min() < 64
    assert len({x.tobytes() for x in words}) == 5


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_captions_that_do_not_fit_are_cut_off(channels):
    black = np.zeros([20, 30, channels], np.uint8)
    words = ["a head much too long", "b", "c"]
    found = captions.captioned(black, 3, 2, words, ["w" * 99, ""])
    assert found.shape[1] == 30 + captions.MAX_SIDE and np.all(found[-20:, -30:] == 0)
    assert found[:-20, -30:-20].min() < 128 and np.all(found[-10:, :-30] == 255)
    np.testing.assert_array_equal(captions.captioned(black, 3, 2), black)
