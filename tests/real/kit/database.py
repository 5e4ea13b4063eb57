"""PostgreSQL of Debian, with a cluster of its own on a socket of its own."""

import pathlib
import subprocess

BIN = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=pathlib.Path("/usr/lib/postgresql/0/bin"))
# It refuses to run as root; in a user namespace whoever runs the tier has another name.
UNDER = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


class Database:
    NAME = "emr"

    def __init__(self, stage):
        self._stage = stage
        self._data = stage.directory / "postgres"
        self._socket = stage.directory / "pg"
        self.process = None

    def start(self):
        self._socket.mkdir()
        # The tier's directories may be deeper than a socket's name can be long.
        if len(str(self._socket)) > 80:
            raise RuntimeError(f"{self._socket} is too long a name for a socket's directory")
        _run([*UNDER, BIN / "initdb", "--pgdata", self._data, "--auth=trust", "--username=emr", "--no-sync", "--encoding=UTF8"])
        command = [*UNDER, BIN / "postgres", "-D", self._data, "-k", self._socket, "-c", "listen_addresses=", "-c", "fsync=off"]
        self.process = self._stage.start("postgres", command)
        for _ in range(200):
            if subprocess.run([BIN / "pg_isready", "-q", "-h", self._socket, "-d", "postgres"]).returncode == 0:
                break
            if not self.process.alive():
                raise RuntimeError(f"PostgreSQL has ended: {self.process.text()[-800:]}")
        _run([BIN / "createdb", *self._who(), self.NAME])
        return self

    def dump(self):
        """The command that a hospital backs it up with. Not compressed, so that one sees what could be read."""
        return [str(part) for part in (BIN / "pg_dump", "--format=custom", "--compress=0", *self._who(), self.NAME)]

    def sql(self, text, database=NAME):
        """What a statement answers, rows as lines."""
        return _run([BIN / "psql", *self._who(), "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", text, database])

    def load(self, dump, database):
        """Brings a dump back as a database of its own."""
        _run([BIN / "createdb", *self._who(), database])
        _run([BIN / "pg_restore", *self._who(), "--exit-on-error", "--dbname", database, dump])

    def _who(self):
        return ("--host", self._socket, "--username", "emr")


def _run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr[-1500:]}")
    return done.stdout
