"""Processes that a scenario started; they are ended by their own ids and nothing else is."""

import os
import signal
import subprocess
import sys


def output(command):
    """What a command prints."""
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=60).stdout


class Process:
    """A child with its output in a file."""

    def __init__(self, name, command, log, env=None, cwd=None):
        self.name = name
        self.log = log
        self._out = open(log, "ab")
        # A session of its own: what the child starts in turn ends with it.
        self.popen = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        """Ends it at once, as a crash would."""
        self._signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self, seconds=20):
        """Ends it in good order and returns its exit code."""
        if self.alive():
            self.popen.terminate()
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        self._signal(signal.SIGKILL)
        code = self.popen.wait()
        self._out.close()
        return code

    def text(self):
        return self.log.read_text(errors="replace")

    def _signal(self, number):
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            pass


class Stage:
    """Everything a scenario runs, ended in reverse order whatever happens."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._processes = []
        # Ended from outside (a time limit), the stage is cleared all the same.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def start(self, name, command, env=None, cwd=None):
        process = Process(name, command, self.directory / f"{name}.log", env, cwd)
        self._processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.stop(seconds=5)
