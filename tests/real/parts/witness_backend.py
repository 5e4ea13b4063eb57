"""A back end that writes down every request target before it answers: what reached it is known whatever dies.

    witness_backend.py PORT FILE
"""

import os
import socketserver
import sys


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            line = self.rfile.readline(8192)
            if not line:
                return
            target = line.split(b" ")[1]
            length = 0
            while (header := self.rfile.readline(8192)) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            self.rfile.read(length)
            os.write(LOG, target + b"\n")
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


LOG = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
Server(("127.0.0.1", int(sys.argv[1])), Connection).serve_forever()
