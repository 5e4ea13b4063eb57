"""Names, ports and HTTP sessions. Names under .test lead to this machine, for every client made here."""

import random
import socket
import time

import requests

_getaddrinfo = socket.getaddrinfo


def _resolve(host, *args, **kwargs):
    if isinstance(host, str) and host.endswith(".test"):
        host = "127.0.0.1"
    return _getaddrinfo(host, *args, **kwargs)


socket.getaddrinfo = _resolve


def free_port():
    """A port of 127.0.0.1 that nobody listens on, and that no outgoing connection is given before somebody does."""
    for port in _below_ephemeral:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


# Each is handed out once. Linux draws the ports of outgoing connections from 32768 up.
_below_ephemeral = iter(random.sample(range(20_000, 32_768), 2_000))


def await_port(port, seconds=30.0, alive=None):
    """Returns when something accepts connections on `port`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if alive is not None and not alive():
            raise RuntimeError(f"the process that should listen on port {port} has ended")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


def await_true(what, probe, seconds=15.0, pause=0.1):
    """Returns the first true answer of `probe`."""
    end = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(pause)


def browser(ca):
    """A session that behaves as a browser would towards the gateway, and trusts the private CA only."""
    session = requests.Session()
    session.trust_env = False
    session.verify = str(ca)
    session.headers.update(
        {
            "User-Agent": "Mozilla/5.0 (real tier)",
            "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
            "Accept-Language": "en",
        }
    )
    return session


NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}
FETCH = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin", "Accept": "application/json"}
