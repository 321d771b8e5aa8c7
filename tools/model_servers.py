"""Clients of TensorFlow Serving, over REST and gRPC, for any signature."""

import base64
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds between attempts
BUSY = (429, 502, 503, 504)  # HTTP: to be asked again
LARGEST = 1 << 30  # bytes of a gRPC message
SIGNATURES = "signature_def"  # what is asked of a model's metadata


class Failure(Exception):
    """What a server did; `code` is the program's exit code."""

    code = 6
    again = False


class Refused(Failure):
    code = 3


class Unreachable(Failure):
    code, again = 4, True


class TooSlow(Failure):
    code, again = 5, True


def patiently(ask, retries):
    """ask(), once and up to `retries` times again where that may help."""
    for attempt in range(retries + 1):
        try:
            return ask()
        except Failure as failure:
            if not failure.again or attempt == retries:
                raise
        time.sleep(min(FIRST_WAIT * 2**attempt, LONGEST_WAIT))


def client(server, model, label):
    """The client of the server at that address.

    Raises ValueError for an address that is none, or gRPC without what it needs.
    """
    address = urllib.parse.urlsplit(server)
    if address.scheme in ("http", "https") and address.netloc:
        version = f"/labels/{urllib.parse.quote(label)}" if label else ""
        path = f"/v1/models/{urllib.parse.quote(model)}{version}"
        return RestClient(server.rstrip("/") + path)
    if "://" in server or not server.rpartition(":")[2].isdecimal():
        raise ValueError(
            "--server must be like http://host:8501 (REST) or host:8500 (gRPC); "
            f"got {server!r}"
        )
    return GrpcClient(server, model, label)


class RestClient:
    """Asks over REST, with the standard library alone; `url` is that of the model."""

    def __init__(self, url):
        self.url = url

    def predict(self, signature, inputs, timeout):
        """The only output of a signature; inputs {name: array}.

        An array, or, where it is called so, a list of bytes.
        """
        inputs = {name: array.tolist() for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        answer = self._ask(":predict", body, timeout)
        try:
            values = json.loads(answer)["outputs"]
            if values and isinstance(values[0], dict):
                return [base64.b64decode(x["b64"], validate=True) for x in values]
            return np.array(values)
        except (ValueError, LookupError, TypeError) as error:
            raise _nonsense(answer) from error

    def shapes(self, timeout):
        """{signature: {input or output: [N or -1, ...]}}, of what has a shape."""
        answer = self._ask("/metadata", None, timeout)
        try:
            found = json.loads(answer)["metadata"][SIGNATURES][SIGNATURES]
            return {
                name: {
                    key: [int(d["size"]) for d in info["tensor_shape"].get("dim", [])]
                    for side in ("inputs", "outputs")
                    for key, info in signature.get(side, {}).items()
                }
                for name, signature in found.items()
            }
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise _nonsense(answer) from error

    def _ask(self, what, body, timeout):
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + what, body, kind)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            kind = Unreachable if error.code in BUSY else Refused
            raise kind(f"HTTP {error.code}: {_reason(error.read())}") from error
        except TimeoutError as error:
            raise TooSlow(f"no answer within {timeout:g} s") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise TooSlow(f"no answer within {timeout:g} s") from error
            raise Unreachable(f"cannot be reached: {error.reason}") from error
        except (http.client.HTTPException, ConnectionError) as error:
            message = f"broke the connection off: {type(error).__name__}"
            raise Unreachable(message) from error


class GrpcClient:
    """Asks over gRPC, with the messages of tensorflow-serving-api."""

    def __init__(self, server, model, label):
        try:
            import grpc
            from tensorflow_serving.apis import (
                get_model_metadata_pb2,
                predict_pb2,
                prediction_service_pb2_grpc,
            )
        except ImportError as error:
            raise ValueError(
                "gRPC needs the packages of pip install 'tfstylegan[serving]'; "
                f"there is no {error.name}"
            ) from error
        self.grpc = grpc
        self.messages, self.metadata = predict_pb2, get_model_metadata_pb2
        limits = [
            (f"grpc.max_{x}_message_length", LARGEST) for x in ("send", "receive")
        ]
        channel = grpc.insecure_channel(server, limits)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.model, self.label = model, label

    def predict(self, signature, inputs, timeout):
        """As `RestClient.predict`."""
        import tensorflow as tf

        request = self._to_model(self.messages.PredictRequest())
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        answer = self._ask(self.stub.Predict, request, timeout)
        if len(answer.outputs) != 1:
            raise Failure(f"the answer must have 1 output; got {len(answer.outputs)}")
        ((name, value),) = answer.outputs.items()
        if name.endswith("_bytes"):
            return list(value.string_val)
        return tf.make_ndarray(value)

    def shapes(self, timeout):
        """As `RestClient.shapes`."""
        request = self._to_model(self.metadata.GetModelMetadataRequest())
        request.metadata_field.append(SIGNATURES)
        answer = self._ask(self.stub.GetModelMetadata, request, timeout)
        found = self.metadata.SignatureDefMap()
        if not answer.metadata[SIGNATURES].Unpack(found):
            raise Failure("the answer has no signatures")
        return {
            name: {
                key: [d.size for d in info.tensor_shape.dim]
                for side in (signature.inputs, signature.outputs)
                for key, info in side.items()
            }
            for name, signature in found.signature_def.items()
        }

    def _to_model(self, request):
        request.model_spec.name = self.model
        if self.label:
            request.model_spec.version_label = self.label
        return request

    def _ask(self, method, request, timeout):
        codes = self.grpc.StatusCode
        try:
            return method(request, timeout=timeout)
        except self.grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code == codes.DEADLINE_EXCEEDED:
                raise TooSlow(f"no answer within {timeout:g} s") from error
            busy = code in (codes.UNAVAILABLE, codes.RESOURCE_EXHAUSTED)
            kind = Unreachable if busy else Refused
            raise kind(f"{code.name}: {details}") from error


def _nonsense(body):
    start = body[:80].decode("utf-8", "replace")
    return Failure(f"the answer is not what was asked for; got {start!r}")


def _reason(body):
    """What a server says of an error: its JSON's sentence, or the text."""
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text[:200].strip() or "without a reason"
