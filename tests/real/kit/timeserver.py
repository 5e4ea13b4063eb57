"""Debian's chrony as a time server that serves this machine's own clock, and never sets it."""

import socket

from . import net


class TimeServer:
    def __init__(self, stage, name):
        self._stage, self.name = stage, name
        self.port = net.free_port()
        self.process = None

    def start(self):
        directory = self._stage.directory / self.name
        directory.mkdir(exist_ok=True)
        config = directory / "chrony.conf"
        config.write_text(f"local stratum 3\nallow 127.0.0.1\nport {self.port}\ncmdport 0\nbindaddress 127.0.0.1\npidfile {directory / 'pid'}\n")
        # -x: the clock stays as it is; -d: in the foreground.
        self.process = self._stage.start(self.name, ["/usr/sbin/chronyd", "-x", "-d", "-u", "root", "-f", config])
        net.await_true(f"an answer of {self.name}", self._answers, 20)
        return self

    def address(self):
        return f"127.0.0.1:{self.port}"

    def _answers(self):
        if not self.process.alive():
            raise RuntimeError(f"chronyd has ended: {self.process.text()[-800:]}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.5)
            client.sendto(b"\x23" + bytes(47), ("127.0.0.1", self.port))
            try:
                return len(client.recv(64)) == 48
            except OSError:
                return False
