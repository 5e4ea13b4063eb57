"""Callers who never pause: over a new connection for each request, or over one that is kept, as browsers do both."""

import http.client
import ipaddress
import socket
import ssl
import threading
import time


class Caller:
    """Asks again and again from its own thread until `end`. `plain` is http without TLS."""

    def __init__(self, name, address, port, host, path, headers, ca, kept=False, plain=False, wanted=200):
        self.name, self._address, self._port, self._host, self._path = name, address, port, host, path
        self._headers, self._kept, self._plain, self._wanted = headers, kept, plain, wanted
        self._context = None if plain else ssl.create_default_context(cafile=str(ca))
        self.answered, self.renewed, self.longest, self.failures = 0, 0, 0.0, []
        self._connection = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def begin(self):
        self._thread.start()
        return self

    def end(self):
        self._ended.set()
        self._thread.join()
        return self

    def _work(self):
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                status = self._ask()
                if status == self._wanted:
                    self.answered += 1
                else:
                    self.failures.append(f"status {status}")
            except (OSError, http.client.HTTPException) as problem:
                self._drop()
                self.failures.append(repr(problem))
            self.longest = max(self.longest, time.monotonic() - begun)
            # Two cores serve everybody here.
            time.sleep(0.002)

    def _ask(self):
        old = self._connection is not None
        try:
            return self._exchange()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            # A kept connection that ended before a byte of the answer: what is safe is asked again (RFC 9112, 9.3.1).
            self._drop()
            if not old:
                raise
            self.renewed += 1
            return self._exchange()

    def _exchange(self):
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request("GET", self._path, headers={"Host": self._host, **self._headers})
        answer = self._connection.getresponse()
        answer.read()
        if not self._kept or answer.will_close:
            self._drop()
        return answer.status

    def _connect(self):
        connection = http.client.HTTPConnection(self._address, self._port, timeout=40)
        family = socket.AF_INET6 if ipaddress.ip_address(self._address).version == 6 else socket.AF_INET
        plain = socket.socket(family)
        plain.settimeout(40)
        plain.connect((self._address, self._port))
        connection.sock = plain if self._plain else self._context.wrap_socket(plain, server_hostname=self._host)
        return connection

    def _drop(self):
        if self._connection is not None:
            self._connection.close()
        self._connection = None
