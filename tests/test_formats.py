"""Other formats: what their runtimes give is what the network gives."""

import numpy as np
import pytest
from exported import CASES, Z_DIM, networks_of
from test_commands import fails, run

from tfstylegan.networks import storage
from tfstylegan.serving import formats

ALL = {
    **CASES,
    "orig": {"architecture": "orig"},
    "normalized": {"architecture": "growing", "block": "normalized"},
}


def kind_of(ending):
    kind = formats.FORMATS[ending]
    if packages := formats.missing(kind):
        pytest.skip(f"{ending} needs {', '.join(packages)}")
    return kind


@pytest.mark.parametrize("ending", formats.FORMATS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=[] if x == "skip" else [pytest.mark.slow]) for x in ALL],
)
def test_format_gives_the_images_of_the_network(name, ending):
    """Any number of them, by each of the inputs, truncated as is configured."""
    kind, networks = kind_of(ending), networks_of(**ALL[name])
    networks.config.generator.truncation_cutoff = 2
    contents, error = formats.convert(networks, kind)
    assert 0 < error < 1e-5
    generator = networks.G_ema
    z = np.random.default_rng(3).normal(size=[5, Z_DIM]).astype(np.float32)
    inputs = {"z": z}
    labels = None
    if generator.mapping.label_dim:
        labels = np.eye(generator.mapping.label_dim, dtype=np.float32)[[0, 2, 1, 4, 4]]
        inputs["labels"] = labels
    found = kind.images(contents, inputs | {"truncation_psi": np.float32([0.3])})
    options = {"truncation_psi": 0.3, "noise_mode": "const"}
    expected = generator(z, labels, truncation_cutoff=2, **options).numpy()
    assert found.dtype == np.float32 and expected.std() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    assert np.abs(found - generator(z, labels, **options)).max() > 0.01
    other = kind.images(contents, inputs | {"truncation_psi": np.float32([1])})
    assert np.abs(other - expected).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("ending", formats.FORMATS)
def test_formats_tool_writes_what_it_has_verified(ending, tmp_path):
    kind, networks = kind_of(ending), networks_of()
    storage.save_networks(tmp_path / "model", networks)
    outfile = tmp_path / "out" / f"g{ending}"
    flags = (f"--model={tmp_path}/model", f"--outfile={outfile}")
    result = run("tools/export_formats.py", *flags)
    assert result.returncode == 0, result.stderr
    assert "largest error" in result.stdout
    names = sorted(path.name for path in outfile.parent.iterdir())
    assert names == sorted(f"g{x}" for x in kind.endings)
    contents = [outfile.with_suffix(x).read_bytes() for x in kind.endings]
    z = np.zeros([1, Z_DIM], np.float32)
    found = kind.images(contents, {"z": z, "truncation_psi": np.float32([1])})
    expected = networks.G_ema(z, noise_mode="const")
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_formats_tool_tells_bad_input(tmp_path):
    flags = f"--model={tmp_path}", f"--outfile={tmp_path}/g.pb"
    fails(run("tools/export_formats.py", *flags), "outfile must end in .tflite", "g.pb")
    flags = f"--model={tmp_path}/no", f"--outfile={tmp_path}/g.tflite"
    fails(run("tools/export_formats.py", *flags), f"{tmp_path}/no")
    assert not list(tmp_path.iterdir())
