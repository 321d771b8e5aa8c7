"""State dicts of torch.save, in both formats."""

import io

import detector_files
import numpy as np
import pickle_pieces as p
import pytest

from tfstylegan.interop import restricted, torch_state

FORMATS = [detector_files.torch_stream, detector_files.torch_archive]


@pytest.fixture
def arrays():
    random = np.random.RandomState(0)
    shapes = {"features.0.weight": (2, 3, 3, 3), "features.0.bias": (2,), "empty": (0,)}
    return {name: random.randn(*s).astype("f4") for name, s in shapes.items()}


@pytest.mark.parametrize("rebuild", ["_rebuild_tensor", "_rebuild_tensor_v2"])
@pytest.mark.parametrize("write", FORMATS)
def test_torch_state_is_read(write, rebuild, arrays, tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(write(arrays, rebuild=rebuild))
    found = torch_state.read(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_torch_state_of_parameters():
    hooks = p.call("collections", "OrderedDict")
    view = (p.storage_id(4), 0, (2, 2), (1, 2), False, hooks)
    tensor = p.call("torch._utils", "_rebuild_tensor_v2", *view)
    parameter = p.call("torch._utils", "_rebuild_parameter", tensor, True, hooks)
    data = np.arange(4, dtype="<f4").tobytes()
    for payload in (
        p.stream(p.Code(p.encode({"a": parameter})), data),
        p.archive(p.Code(p.encode({"a": parameter})), data),
    ):
        found = torch_state.read(io.BytesIO(payload))
        np.testing.assert_array_equal(found["a"], [[0, 2], [1, 3]])


@pytest.mark.parametrize("write", FORMATS)
def test_torch_state_refuses_every_cut(write, arrays):
    data = write(arrays)
    for size in range(0, len(data), 7):
        with pytest.raises(restricted.PickleError):
            torch_state.read(io.BytesIO(data[:size]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1], "holds list, not a state dict"),
        ({"a": 1}, "a is int, not a tensor"),
        ({1: 1}, "name that is not a short plain string"),
        (p.call("os", "system", "true"), "asks for os.system"),
        ({"a": p.call("torch._utils", "_rebuild_tensor", 1, 0, (), ())}, "from .int,"),
    ],
)
def test_torch_state_refuses_what_is_no_state(value, words):
    with pytest.raises(restricted.PickleError, match=words):
        torch_state.read(io.BytesIO(p.archive(p.Code(p.encode(value)))))


def test_torch_state_budget():
    with pytest.raises(restricted.PickleError, match="more than 10 bytes"):
        limits = restricted.Limits(file_bytes=10)
        torch_state.read(io.BytesIO(bytes(11)), limits=limits)
