"""A mail server (aiosmtpd) and what arrived there."""

import email
import email.policy

from . import net
from .gateway import REPOSITORY


class MailServer:
    """One that takes mail from one account. `security` is that of `[[notify.smtp]]`, or `clear` for a server without TLS."""

    USERNAME, PASSWORD = "chartgate", "Mail-pass-1"

    def __init__(self, stage, cache, name, security, authority=None):
        self._stage, self._cache, self.name, self._security, self._authority = stage, cache, name, security, authority
        self.port = net.free_port()
        self._directory = stage.directory / f"mail-{name}"
        self.process = None

    def start(self, authority=None):
        """`authority` is whose certificate it shows from here on."""
        self._authority = authority or self._authority
        files = [] if self._security == "clear" else [self._authority.cert, self._authority.key]
        command = [self._cache / "mail" / "bin" / "python", REPOSITORY / "tests" / "real" / "parts" / "mail_server.py", self.port, self._directory, self._security, *files]
        self.process = self._stage.start(f"mail-server-{self.name}", command, {"USERNAME": self.USERNAME, "PASSWORD": self.PASSWORD})
        net.await_port(self.port, 30, self.process.alive)
        return self

    def receiver(self, password_file, ca, **changes):
        """The `[[notify.smtp]]` entry for it."""
        return {"name": self.name, "host": "localhost", "port": self.port, "security": "tls" if self._security == "tls" else "starttls",
                "username": self.USERNAME, "password_file": str(password_file), "ca": str(ca), "from": "chartgate@clinic.test",
                "to": ["on-call@clinic.test", "privacy@clinic.test"], **changes}

    def mails(self):
        """Every mail that arrived, oldest first."""
        found = [path for folder in ("new", "cur") for path in (self._directory / folder).glob("*")]
        found.sort(key=lambda path: path.stat().st_mtime_ns)
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in found]

    def about(self, words):
        """Those with these words in their text."""
        return [mail for mail in self.mails() if words in mail.get_content()]

    def await_about(self, words, seconds=15):
        net.await_true(f"mail about {words} at {self.name}", lambda: self.about(words), seconds)
        return self.about(words)
