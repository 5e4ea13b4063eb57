"""Chartgate itself: its configuration, its process, and its trail as an operator reads it."""

import json
import os
import pathlib
import signal
import socket
import subprocess

import requests

from . import net

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]


def binary():
    """The program under test: `CHARTGATE`, or what `cargo build --release` left."""
    named = os.environ.get("CHARTGATE")
    return pathlib.Path(named) if named else REPOSITORY / "target" / "release" / "chartgate"


def toml(table, path=()):
    """`table` as TOML. JSON's strings, numbers, booleans and arrays of them are TOML's too."""
    lines, after = [], []
    for key, value in table.items():
        inner = (*path, key)
        if isinstance(value, dict):
            after.append(f"\n[{'.'.join(inner)}]\n" + toml(value, inner))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            after.extend(f"\n[[{'.'.join(inner)}]]\n" + toml(item, inner) for item in value)
        else:
            name = key if key.replace("_", "").isalnum() and not key.isdigit() else json.dumps(key)
            lines.append(f"{name} = {json.dumps(value)}\n")
    return "".join(lines) + "".join(after)


class Gateway:
    """One gateway with its own directory. `emrs` are `[[emr]]` tables, `issuer` one `[[identity.issuer]]` table, or several."""

    def __init__(self, stage, authority, port=None, policies=None):
        self._stage, self._authority = stage, authority
        self.port = port or net.free_port()
        self.admin_port = net.free_port()
        self.directory = stage.directory / "gateway"
        self.config = self.directory / "chartgate.toml"
        self.policies = policies or REPOSITORY / "policies"
        self.process = None

    def origin(self, host):
        return f"https://{host}:{self.port}"

    def configure(self, issuer, emrs, **changes):
        """Makes keys with `chartgate init` and writes the configuration; `changes` replace whole keys of its tables."""
        secret = self.secret("client-secret", "gw-secret-0123456789-0123456789-01")
        for emr in emrs:
            basic = emr.get("identity", {}).get("basic")
            if basic and "password" in basic:
                basic["password_file"] = str(self.secret(f"{emr['name']}-password", basic.pop("password")))
        issuers = [one if "client_auth" in one else {**one, "client_secret_file": str(secret)} for one in (issuer if isinstance(issuer, list) else [issuer])]
        table = {
            "server": {"listen": [f"127.0.0.1:{self.port}"], "workers": 2},
            "certificate": [{"chain": str(self._authority.cert), "key": str(self._authority.key)}],
            "identity": {"idle_timeout": "15m", "absolute_timeout": "12h", "issuer": issuers},
            "emr": emrs,
            "policy": {"directory": str(self.policies)},
            "audit": {
                "directory": str(self.directory / "audit"),
                "master_key": str(self.directory / "keys" / "master.key"),
                "signing_key": str(self.directory / "keys" / "signing.key"),
                "witnesses": [str(self._stage.directory / "witness" / "checkpoints")],
                "node": "ward-gateway",
            },
            "store": {"path": str(self.directory / "store.redb"), "key": str(self.directory / "keys" / "store.key")},
            "admin": {"listen": f"127.0.0.1:{self.admin_port}", "socket": str(self.directory / "admin.sock"), "operators": {str(os.getuid()): "auditor"}},
            "log": {"filter": "info", "format": "json"},
        }
        (self._stage.directory / "witness").mkdir(exist_ok=True)
        for name, change in changes.items():
            table.setdefault(name, {}).update(change)
        self.config.write_text(toml(table))
        return self

    def secret(self, name, value):
        """A file with one secret that only its owner may read."""
        if not self.directory.exists():
            subprocess.run([binary(), "init", self.directory], check=True, capture_output=True)
        path = self.directory / name
        path.write_text(value + "\n")
        path.chmod(0o600)
        return path

    def check(self, *arguments):
        """`chartgate check`, with its exit code and text."""
        done = subprocess.run([binary(), "check", "--config", self.config, *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def start(self, under=(), arguments=()):
        """`under` is a command that runs the gateway, such as `taskset`; `arguments` are further ones of `serve`."""
        self.process = self._stage.start("chartgate", [*under, binary(), "serve", "--config", self.config, *arguments])
        # A socket that the one before left behind answers nobody.
        net.await_true("the admin socket", self._answers_operators, 30, 0.02)
        net.await_port(self.port, 30, self.process.alive)
        return self

    def _answers_operators(self):
        if not self.process.alive():
            raise RuntimeError(f"the gateway has ended: {self.process.text()[-800:]}")
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.directory / "admin.sock")) == 0

    def metrics(self, name):
        """The samples of a metric: what stands between its braces, and the value."""
        session = requests.Session()
        session.trust_env = False
        text = session.get(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10).text
        rows = (line.removeprefix(name).rsplit(" ", 1) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
        return {labels.strip("{}"): float(value) for labels, value in rows}

    def stop(self):
        """SIGTERM: drains and ends."""
        return self.process.stop(40)

    def crash(self):
        """SIGKILL to the process itself."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.popen.wait()

    def trail(self, *arguments):
        """`chartgate audit show --json`, as records."""
        done = subprocess.run([binary(), "audit", "show", "--config", self.config, "--json", *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"audit show ended with {done.returncode}: {done.stderr[-1500:]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]

    def run(self, *arguments):
        """A command that asks the gateway, with its exit code and text."""
        done = subprocess.run([binary(), *arguments, "--config", self.config], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def verify(self):
        """`chartgate audit verify`, with its exit code and text."""
        done = subprocess.run([binary(), "audit", "verify", "--config", self.config], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
