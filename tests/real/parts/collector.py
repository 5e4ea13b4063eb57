"""A receiver of OTLP logs (/v1/logs) and FHIR batches (/fhir): what arrives is decoded by the libraries of its own kind. What has
the word `indigestible` in it is refused for good: of OTLP the whole request, of a batch the entry.

`collector.py PORT CERT KEY TOKEN FILE`; FILE gets a JSON document for each log record and each resource.
"""

import http.server
import json
import ssl
import sys

from fhir.resources.R4B.bundle import Bundle
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

PORT, CERT, KEY, TOKEN, FILE = sys.argv[1:]
REFUSED = "indigestible"


def plain(value):
    """An AnyValue as JSON."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)


class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, "text/plain", b"who are you?")
        # An empty request asks whether it would be taken.
        if body:
            Handler.asked += 1
        if Handler.asked in (1, 2):
            return self.answer(503, "text/plain", b"not well", ("Retry-After", "1"))
        if self.path == "/v1/logs":
            return self.logs(body)
        return self.batch(body)

    def logs(self, body):
        request = ExportLogsServiceRequest.FromString(body)
        if REFUSED.encode() in body:
            return self.answer(400, "text/plain", b"one of these cannot be stored")
        for logs in request.resource_logs:
            resource = {pair.key: plain(pair.value) for pair in logs.resource.attributes}
            for scope in logs.scope_logs:
                for record in scope.log_records:
                    attributes = {pair.key: plain(pair.value) for pair in record.attributes}
                    keep({"kind": "log", "resource": resource, "attributes": attributes, "body": plain(record.body), "event": record.event_name,
                          "severity": record.severity_number, "nanoseconds": record.time_unix_nano})
        self.answer(200, "application/x-protobuf", ExportLogsServiceResponse().SerializeToString())

    def batch(self, body):
        bundle = Bundle.model_validate_json(body)
        assert bundle.type == "batch", bundle.type
        answers = []
        for entry in json.loads(body)["entry"]:
            assert entry["request"] == {"method": "POST", "url": "AuditEvent"}, entry["request"]
            if REFUSED in json.dumps(entry):
                answers.append({"response": {"status": "422 Unprocessable Entity"}})
                continue
            keep({"kind": "fhir", "id": entry["resource"]["id"]})
            answers.append({"response": {"status": "201 Created"}})
        self.answer(200, "application/fhir+json", json.dumps({"resourceType": "Bundle", "type": "batch-response", "entry": answers}).encode())

    def answer(self, status, kind, body, *headers):
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def keep(entry):
    with open(FILE, "a") as log:
        log.write(json.dumps(entry) + "\n")


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
