"""Debian's rsyslog as a receiver of syslog over TLS: it takes messages only from who shows a certificate of the private CA."""

from . import net


class Receiver:
    """`written` is the file that messages of `msgid` go to, in rsyslog's own format; everything else is dropped."""

    def __init__(self, stage, authority, msgid):
        self._stage, self._authority, self._msgid = stage, authority, msgid
        self.port = net.free_port()
        self.directory = stage.directory / "rsyslog"
        self.written = self.directory / "received.log"
        self.process = None

    def start(self):
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "rsyslog.conf"
        config.write_text(
            f'global(workDirectory="{self.directory}" maxMessageSize="64k" defaultNetstreamDriverCAFile="{self._authority.ca}"\n'
            f'       defaultNetstreamDriverCertFile="{self._authority.cert}" defaultNetstreamDriverKeyFile="{self._authority.key}")\n'
            'module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")\n'
            f'input(type="imtcp" address="127.0.0.1" port="{self.port}")\n'
            f'if $app-name == "chartgate" and $msgid == "{self._msgid}" then {self.written}\n'
        )
        command = ["/usr/sbin/rsyslogd", "-n", "-f", config, "-i", self.directory / "pid"]
        self.process = self._stage.start("rsyslog", command)
        net.await_port(self.port, 30, self.process.alive)
        return self

    def lines(self):
        return self.written.read_text().splitlines() if self.written.exists() else []
