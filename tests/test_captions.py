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
    inside = picture[-130:, -196:]  # sides of 16 pixels are 64 now, and lines of 2
    large = bare.repeat(4, axis=0).repeat(4, axis=1)
    for row, column in np.ndindex(2, 3):
        top, left = 66 * row, 66 * column
        cell = large[64 * row :, 64 * column :][:64, :64]
        np.testing.assert_array_equal(inside[top : top + 64, left : left + 64], cell)
    assert np.all(inside[64:66] == 255) and np.all(inside[:, 64:66] == 255)
    heads, sides = picture[:-130], picture[-130:, :-196]
    words = [*np.split(heads[:, -195:], 3, axis=1), *np.split(sides, 2)]
    for word in words:
        edges = (word[0], word[-1], word[:, 0], word[:, -1])
        assert all(np.all(edge == 255) for edge in edges)  # nothing is cut off
        assert word.min() < 64
    assert len({x.tobytes() for x in words}) == 5


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_captions_that_do_not_fit_are_cut_off(channels):
    black = np.zeros([6, 10, 10, channels], np.uint8)
    words = ["a head much too long", "b", "c"]
    found = captions.captioned(black, 3, words, ["w" * 99, ""])
    assert found.shape[1] == 34 + captions.MAX_SIDE
    for top in (-22, -10):
        rows = found[top:][:10]
        assert np.all(rows[:, -34:-24] == 0) and np.all(rows[:, -24:-22] == 255)
    assert found[:-22, -34:-24].min() < 128 and np.all(found[-10:, :-34] == 255)
    assert captions.captioned(black, 3).shape == (22, 34, channels)
