"""A receiver of alarms over TLS that checks each signature as docs/detection.md tells receivers to."""

import http.server
import json
import ssl
import threading

from . import manual, net


def checker():
    """The manual's own function, word for word."""
    names = {}
    exec(manual.block("detection", "python", "def verified(secret: bytes, header: str, body: bytes) -> bool:"), names)  # noqa: S102
    return names["verified"]


class Webhook:
    SECRET = "Webhook-secret-0123456789"

    def __init__(self, authority):
        self.port = net.free_port()
        self.url = f"https://localhost:{self.port}/alarms"
        self.alarms, self.forged = [], []
        verified, receiver = checker(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if verified(receiver.SECRET.encode(), self.headers["X-Chartgate-Signature"], body):
                    receiver.alarms.append(json.loads(body))
                else:
                    receiver.forged.append(body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(authority.cert, authority.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def receiver(self, secret_file, ca):
        """The `[[notify.webhook]]` entry for it."""
        return {"name": "security-team", "url": self.url, "secret_file": str(secret_file), "ca": str(ca), "include": ["user"]}

    def await_rule(self, rule, seconds=15):
        """Every alarm of a rule, once there is one."""
        net.await_true(f"alarm {rule}", lambda: any(a["rule"] == rule for a in self.alarms), seconds)
        return [a for a in self.alarms if a["rule"] == rule]
