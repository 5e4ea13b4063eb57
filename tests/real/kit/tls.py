"""A private certificate authority and one certificate for every name that the scenarios use."""

import subprocess

NAMES = "DNS:localhost,IP:127.0.0.1,DNS:opal.clinic.test,DNS:pacs.clinic.test,DNS:bench.clinic.test"

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    """`ca`, `cert` and `key` are PEM files; ECDSA P-256 throughout. The certificate is for `names`."""

    def __init__(self, directory, names=NAMES):
        directory.mkdir(parents=True, exist_ok=True)
        self.ca = directory / "ca.pem"
        self._names = names
        self.cert = directory / "server.pem"
        self.key = directory / "server.key"
        if not self.cert.exists():
            self._make(directory)

    def _make(self, directory):
        ca_key, request, extensions = directory / "ca.key", directory / "server.csr", directory / "server.ext"
        extensions.write_text(f"subjectAltName={self._names}\nbasicConstraints=CA:false\nextendedKeyUsage=serverAuth\n")
        _openssl("req", "-x509", *KEY, "-keyout", ca_key, "-out", self.ca, "-days", "30", "-subj", "/CN=Real tier CA",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl("req", *KEY, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        _openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30",
                 "-extfile", extensions, "-out", self.cert)

    def client(self, name):
        """A certificate of this authority for a client that is called `name`, and its key."""
        directory = self.ca.parent
        cert, key, request, extensions = (directory / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        extensions.write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=CA:false\nextendedKeyUsage=clientAuth\n")
        _openssl("req", *KEY, "-keyout", key, "-out", request, "-subj", f"/O=Clinic/CN={name}")
        _openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", directory / "ca.key", "-CAcreateserial", "-days", "30",
                 "-extfile", extensions, "-out", cert)
        key.chmod(0o600)
        return cert, key


def self_signed(directory, name):
    """A certificate that nobody vouches for, and its key."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    _openssl("req", "-x509", *KEY, "-keyout", key, "-out", cert, "-days", "30", "-subj", f"/CN={name}")
    key.chmod(0o600)
    return cert, key


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
