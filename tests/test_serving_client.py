"""The client, over real sockets, against a server of both protocols."""

import http.client
import io
import socket
import sys

import model_server
import numpy as np
import PIL.Image
import pytest
import test_commands
from exported import ROOT, Exported, networks_of, run

from tfstylegan import export

sys.path.insert(0, str(ROOT / "tools"))
import model_servers
import serving_client

PROTOCOLS = ("rest", "grpc")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    networks = networks_of(label_dim=3)
    outdir = tmp_path_factory.mktemp("export")
    return Exported(networks, export.export_saved_model(networks, outdir, max_batch=4))


@pytest.fixture(scope="module")
def loaded(exported):
    return model_server.Model(exported.path)


@pytest.fixture
def model(loaded):
    loaded.delay = loaded.busy = 0
    loaded.requests.clear()
    return loaded


@pytest.fixture(params=PROTOCOLS)
def server(request, model):
    if request.param == "grpc":
        pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    serve = {"rest": model_server.rest, "grpc": model_server.grpc_server}
    with serve[request.param](model) as address:
        yield address


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(model_servers, "FIRST_WAIT", 0.01)


def inputs_of(count, **others):
    """A request's inputs, one class for all images."""
    return {
        "seed": np.arange(count),
        "z": np.zeros([count, 0], np.float32),
        "labels": np.eye(3, dtype=np.float32)[np.zeros(count, int)],
        "truncation_psi": np.full([count], 0.8, np.float32),
        "truncation_cutoff": np.full([count], -1, np.int32),
        "noise_seed": np.full([count], -1),
        **others,
    }


def ask(server, inputs, *, model="stylegan", timeout=30.0, retries=0):
    client = model_servers.client(server, model, None)
    return serving_client.png_files(client, inputs, timeout, retries)


def client_command(server, outdir, *options):
    command = [sys.executable, "tools/serving_client.py", f"--server={server}"]
    command += ["--model=stylegan", f"--outdir={outdir}", *options]
    return run(command, cwd=ROOT)


def pixels(file):
    return np.asarray(PIL.Image.open(io.BytesIO(file)))


def test_client_saves_the_images_of_seeds(server, model, exported, tmp_path):
    np.save(tmp_path / "labels.npy", np.eye(3)[[1]])
    out = tmp_path / "out"
    options = (f"--labels={tmp_path}/labels.npy", "--seeds=3,7-9,2", "--batch=2")
    code, said, err = client_command(server, out, *options, "--truncation_psi=0.5")
    assert code == 0, err
    assert said == f"5 images of stylegan in {out}\n"
    assert model.requests == [2, 2, 1]
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"seed{seed:04d}.png" for seed in (2, 3, 7, 8, 9)]
    labels = np.eye(3, dtype=np.float32)[[1, 1]]
    given = {"seed": [8, 2], "labels": labels, "truncation_psi": 0.5}
    expected = exported.ask("serving_default", **given)
    for seed, image in zip((8, 2), expected, strict=True):
        assert np.array_equal(pixels((out / f"seed{seed:04d}.png").read_bytes()), image)


def test_client_asks_a_busy_server_again(server, model):
    model.busy = 2
    assert len(ask(server, inputs_of(1), retries=2)) == 1
    model.busy = 2
    with pytest.raises(model_servers.Unreachable, match="overloaded"):
        ask(server, inputs_of(1), retries=1)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"labels": np.ones([2, 4], np.float32)}, "labels must be \\[N, 3\\]"),
        ({"truncation_psi": np.float32([1, np.inf])}, "truncation_psi must be finite"),
        ({"z": np.zeros([3, 12], np.float32)}, "equally many rows"),
        (inputs_of(5), "at most 4 images; got"),
    ],
)
def test_client_tells_why_it_was_refused(server, model, others, message):
    with pytest.raises(model_servers.Refused, match=message) as error:
        ask(server, inputs_of(2) | others, retries=3)
    assert error.value.code == 3
    assert len(model.requests) == 1  # asking again would not help


def test_client_reads_the_shapes_of_signatures(server, exported):
    shapes = model_servers.client(server, "stylegan", None).shapes(30.0)
    mapping, synthesis = exported.generator.mapping, exported.generator.synthesis
    assert shapes["mapping"]["z"] == [-1, mapping.z_dim]
    assert shapes["mapping"]["ws"] == [-1, mapping.num_ws, mapping.w_dim]
    assert shapes["serving_default"]["labels"] == [-1, 3]
    assert shapes["serving_default"]["images"] == [-1, *synthesis.sizes[-1], 3]


def test_client_gets_the_arrays_of_any_signature(server, exported):
    z = exported.inputs(2)["z"]
    labels = np.eye(3, dtype=np.float32)[[0, 2]]
    client = model_servers.client(server, "stylegan", None)
    ws = client.predict("mapping", {"z": z, "labels": labels}, 30.0)
    expected = exported.ask("mapping", z=z, labels=labels)
    np.testing.assert_allclose(ws, expected, rtol=1e-6)
    images = client.predict("synthesis", {"ws": np.float32(ws)}, 30.0)
    assert np.array_equal(images, exported.ask("synthesis", ws=expected))


def test_client_of_another_model_is_refused(server):
    with pytest.raises(model_servers.Refused, match="not found"):
        ask(server, inputs_of(1), model="other")


def test_client_waits_no_longer_than_it_is_told(server, model):
    ask(server, inputs_of(1))
    model.delay = 3
    with pytest.raises(model_servers.TooSlow, match="no answer within 0.3 s") as error:
        ask(server, inputs_of(1), timeout=0.3)
    assert error.value.code == 5


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_client_of_a_server_that_is_gone(protocol, tmp_path):
    if protocol == "grpc":
        pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = f"http://{address}" if protocol == "rest" else address
    code, out, err = client_command(server, tmp_path, "--retries=1", "--seeds=1")
    assert code == 4 and out == ""
    (line,) = [x for x in err.splitlines() if x.startswith("error:")]
    assert server in line and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "garbage",
    [b"<html>", b"[1]", b'{"outputs": [{"b64": "!"}]}', b'{"outputs": []}']
    + [b'{"outputs": [{"b64": "R0lG"}]}'],
)
def test_client_of_a_server_that_talks_nonsense(garbage, model):
    with (
        model_server.rest(model, garbage) as server,
        pytest.raises(model_servers.Failure, match="the answer") as error,
    ):
        ask(server, inputs_of(1), retries=2)
    assert error.value.code == 6


@pytest.mark.parametrize("garbage", [b"<html>", b"[1]", b'{"metadata": {}}'])
def test_client_of_shapes_that_are_nonsense(garbage, model):
    with (
        model_server.rest(model, garbage) as server,
        pytest.raises(model_servers.Failure, match="not what was asked for"),
    ):
        model_servers.client(server, "stylegan", None).shapes(30.0)


def test_client_request_of_a_bad_body_is_refused_by_the_server(model):
    """Malformed JSON: the test server says what TensorFlow Serving would."""
    with model_server.rest(model) as server:
        connection = http.client.HTTPConnection(server.removeprefix("http://"))
        connection.request("POST", "/v1/models/stylegan:predict", "{")
        answer = connection.getresponse()
        assert answer.status == 400 and b"JSON Parse error" in answer.read()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--server=ftp://x", "--model=m", "--outdir={}"], "--server"),
        (["--server=host", "--model=m", "--outdir={}"], "--server"),
        (["--server=http://x", "--model=m", "--outdir={}", "--seeds=a"], "--seeds"),
    ],
)
def test_client_tells_bad_arguments(options, word, tmp_path):
    options = [option.format(tmp_path) for option in options]
    test_commands.fails(test_commands.run("tools/serving_client.py", *options), word)
