"""Receivers of the trail: Debian's rsyslog with mutual TLS, and one of OTLP and FHIR that decodes with their own libraries."""

import json
import pathlib

from . import net

PARTS = pathlib.Path(__file__).resolve().parents[1] / "parts"


class Rsyslog:
    """rsyslogd with TLS and octet-counted frames; it asks for a client certificate of the authority."""

    CONFIG = """global(workDirectory="{home}" maxMessageSize="64k" defaultNetstreamDriverCAFile="{ca}"
       defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" port="{port}" address="127.0.0.1" SupportOctetCountedFraming="on")
template(name="raw" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{log}" template="raw")
"""

    def __init__(self, stage, authority):
        self._stage, self.port, self.process = stage, net.free_port(), None
        self._home = stage.directory / "rsyslog"
        self._home.mkdir(exist_ok=True)
        self.log = self._home / "messages"
        text = self.CONFIG.format(home=self._home, ca=authority.ca, cert=authority.cert, key=authority.key, port=self.port, log=self.log)
        (self._home / "rsyslog.conf").write_text(text)

    def start(self):
        pid = self._home / "pid"
        pid.unlink(missing_ok=True)
        self.process = self._stage.start("rsyslog", ["/usr/sbin/rsyslogd", "-n", "-f", self._home / "rsyslog.conf", "-i", pid])
        net.await_port(self.port, 30, self.process.alive)
        return self

    def messages(self):
        return self.log.read_text().splitlines() if self.log.exists() else []


class Collector:
    """Takes OTLP logs and FHIR batches over TLS, from who shows the token; it is not well at first, and takes them later."""

    TOKEN = "collector-token-0123456789"
    REFUSED = "indigestible"

    def __init__(self, stage, cache, authority):
        self.port = net.free_port()
        self.url = f"https://localhost:{self.port}"
        self._log = stage.directory / "collected"
        command = [cache / "exports" / "bin" / "python", PARTS / "collector.py", self.port, authority.cert, authority.key, self.TOKEN, self._log]
        self.process = stage.start("collector", command)
        net.await_port(self.port, 30, self.process.alive)

    def got(self, kind):
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if entry["kind"] == kind]
