"""A small model server: PredictionService and REST over one session of TensorFlow.

What it does of both protocols is what `docs/serving.md` tells of; REST fills in no
defaults, as TensorFlow Serving does not. `delay` seconds pass before each answer, and
the first `busy` requests are turned away.
"""

import base64
import contextlib
import http.server
import json
import pathlib
import re
import shutil
import tempfile
import threading
import time
from concurrent import futures

import tensorflow as tf
from google.protobuf import json_format

from tfstylegan.serving import saving

PATH = re.compile(
    r"/v1/models/(\w+)(?:/(?:versions|labels)/(\w+))?(:predict|/metadata)"
)


class Bad(Exception):
    """A request that is refused."""


class Model:
    """A SavedModel in a session, as a server has it: no shape is looked at."""

    def __init__(self, path, name="stylegan"):
        self.name = name
        self.delay = self.busy = 0
        self.requests = []  # numbers of rows
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with tempfile.TemporaryDirectory() as folder, self._session.graph.as_default():
            copy = without_shapes(path, folder)
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], copy)
        self.signatures = loaded.signature_def
        self._calls = {}

    def answer(self, name, signature, inputs):
        """{output: array}; inputs {name: array}, defaults where one is missing."""
        self.requests.append(
            max((len(x) for x in inputs.values() if x.ndim), default=0)
        )
        time.sleep(self.delay)
        if name != self.name:
            raise Bad(f"Servable not found for request: Latest({name})")
        if signature not in self.signatures:
            raise Bad(f'Serving signature name: "{signature}" not found')
        kind = self.signatures[signature]
        given = {key: tf.make_ndarray(x) for key, x in kind.defaults.items()} | inputs
        if set(given) != set(kind.inputs):
            raise Bad(f"inputs are {sorted(given)}, not {sorted(kind.inputs)}")
        try:
            values = self._call(signature)(*(given[key] for key in sorted(given)))
        except tf.errors.InvalidArgumentError as error:
            raise Bad(error.message) from error
        return dict(zip(sorted(kind.outputs), values, strict=True))

    def metadata(self, name):
        """{signature: SignatureDef} of all of them."""
        if name != self.name:
            raise Bad(f"Servable not found for request: Latest({name})")
        return self.signatures

    def turns_away(self):
        self.busy -= 1
        return self.busy >= 0

    def _call(self, signature):
        if signature not in self._calls:
            kind, graph = self.signatures[signature], self._session.graph

            def tensors(side):
                names = [side[key].name for key in sorted(side)]
                return [graph.get_tensor_by_name(name) for name in names]

            self._calls[signature] = self._session.make_callable(
                tensors(kind.outputs), tensors(kind.inputs)
            )
        return self._calls[signature]

    def columns(self, signature, inputs):
        """Arrays of REST's columnar format."""
        kinds = self.signatures[signature].inputs
        missing = set(kinds) - set(inputs)
        if missing:
            raise Bad(f"Missing named input: {sorted(missing)[0]} in 'inputs' object.")
        types = {key: tf.dtypes.as_dtype(x.dtype) for key, x in kinds.items()}
        try:
            return {
                key: tf.constant(inputs[key], dtype).numpy()
                for key, dtype in types.items()
            }
        except (ValueError, TypeError) as error:
            raise Bad(f"JSON Value is not of expected type: {error}") from error


def without_shapes(path, folder):
    """Path of a copy in which inputs have no shapes.

    Python's sessions, and no others, compare what they are fed with them.
    """
    copy = pathlib.Path(folder) / "model"
    shutil.copytree(path, copy)
    model = saving.read(path)
    for node in model.meta_graphs[0].graph_def.node:
        if node.op in ("Placeholder", "PlaceholderWithDefault"):
            node.attr.pop("_output_shapes", None)
            node.attr["shape"].shape.Clear()
            node.attr["shape"].shape.unknown_rank = True
    (copy / saving.GRAPH_FILE).write_bytes(model.SerializeToString())
    return str(copy)


@contextlib.contextmanager
def rest(model, garbage=None):
    """Address of a REST server; `garbage` bytes are its answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(lambda: {"outputs": self.predicted(body)})

        def do_GET(self):
            self.answer(self.metadata)

        def answer(self, work):
            if garbage is not None:
                return self.send(200, garbage)
            if model.turns_away():
                return self.send(503, b'{"error": "overloaded"}')
            try:
                found = work()
            except Bad as error:
                return self.send(400, json.dumps({"error": str(error)}).encode())
            return self.send(200, json.dumps(found).encode())

        def name(self, what):
            found = PATH.fullmatch(self.path)
            if not found or found[3] != what:
                raise Bad(f"Malformed request: {self.command} {self.path}")
            return found[1]

        def metadata(self):
            found = {
                name: json_format.MessageToDict(x, preserving_proto_field_name=True)
                for name, x in model.metadata(self.name("/metadata")).items()
            }
            return {"metadata": {"signature_def": {"signature_def": found}}}

        def predicted(self, body):
            name = self.name(":predict")
            try:
                request = json.loads(body)
            except ValueError as error:
                raise Bad(f"JSON Parse error: {error}") from error
            signature = request.get("signature_name", "serving_default")
            arrays = model.columns(signature, request["inputs"])
            ((output, values),) = model.answer(name, signature, arrays).items()
            if output.endswith("_bytes"):
                return [{"b64": base64.b64encode(x).decode()} for x in values]
            return values.tolist()

        def send(self, code, body):
            with contextlib.suppress(ConnectionError):  # who asked may have gone
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextlib.contextmanager
def grpc_server(model):
    """Address of a gRPC server with the official PredictionService."""
    import grpc
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            if model.turns_away():
                context.abort(grpc.StatusCode.UNAVAILABLE, "overloaded")
            inputs = {key: tf.make_ndarray(x) for key, x in request.inputs.items()}
            spec = request.model_spec
            try:
                outputs = model.answer(spec.name, spec.signature_name, inputs)
            except Bad as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            response = predict_pb2.PredictResponse()
            for key, value in outputs.items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

        def GetModelMetadata(self, request, context):
            try:
                signatures = model.metadata(request.model_spec.name)
            except Bad as error:
                context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.metadata["signature_def"].Pack(
                get_model_metadata_pb2.SignatureDefMap(signature_def=signatures)
            )
            return response

    server = grpc.server(futures.ThreadPoolExecutor(4))
    add = prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server
    add(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)
