"""The command line, as an operator uses it beside a running gateway."""

import json
import subprocess
import time

from .gateway import binary


class Console:
    """The command line; `config` is the gateway's configuration, `log` the file that takes down what was said."""

    def __init__(self, config, log):
        self.config, self._log = config, log

    def run(self, *arguments):
        """Exit code and everything that was printed."""
        done = self._done(arguments)
        return done.returncode, done.stdout + done.stderr

    def ask(self, *arguments):
        """The same with `--config`."""
        return self.run(*arguments, "--config", self.config)

    def rows(self, *arguments):
        """Exit code and standard output as JSON, a document a line."""
        done = self._done((*arguments, "--config", self.config))
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def document(self, *arguments):
        """Exit code and standard output as one JSON document."""
        done = self._done(arguments)
        return done.returncode, json.loads(done.stdout)

    def _done(self, arguments):
        begun = time.monotonic()
        done = subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, timeout=90)
        with open(self._log, "a") as log:
            log.write(f"$ chartgate {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}# exit {done.returncode}, {time.monotonic() - begun:.1f} s\n\n")
        return done
