"""A machine of its own that systemd runs: PID 1 of its own namespaces, with its own cgroups and a disk that is thrown away.

Namespaces of this kernel, no virtual machine: the network and the clock are those of the tier. What is installed into
it lies in memory and is gone with it; it begins as a copy of the machine that the tier runs on.
"""

import os
import pathlib
import shlex
import subprocess

from . import net

# Everything that systemd needs to be the first process: proc, cgroups, devices, and a root that can be written.
BEGIN = r"""
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs tmpfs "$WORK"
mkdir "$WORK/upper" "$WORK/scratch" "$WORK/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/scratch" "$WORK/root"
root=$WORK/root
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for directory in run tmp; do mount -t tmpfs -o mode=1755 tmpfs "$root/$directory"; done
chmod 1777 "$root/tmp"
# Nothing of this machine's own services is started; what belongs to the machine is not of that kind.
rm -rf "$root"/etc/systemd/system/*.wants
mkdir -p "$root/mnt/before"
cd "$root"
pivot_root . mnt/before
umount -l /mnt/before
exec env -i container=namespaces PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=basic.target
"""


class Machine:
    """systemd as the first process; commands run inside, as root."""

    def __init__(self, stage):
        self._stage = stage
        self._work = stage.directory / "machine"
        self.process = None
        self._first = None

    def boot(self):
        self._work.mkdir()
        namespaces = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        self.process = self._stage.start("machine", [*namespaces, "bash", "-c", BEGIN], {"WORK": str(self._work)})
        self._first = net.await_true("systemd begins", self._systemd, 20)
        net.await_true("systemd is up", lambda: self.run("systemctl", "is-system-running")[1].strip() in ("running", "degraded"), 60)
        return self

    def _systemd(self):
        if not self.process.alive():
            raise RuntimeError(f"systemd cannot run in namespaces here (it takes root and cgroup v2): {self.process.text()[-800:]}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children and pathlib.Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd" else None

    def run(self, *command, stdin=None):
        """Exit code and everything that was printed."""
        inside = ["nsenter", "--target", str(self._first), "--all", "--", *map(str, command)]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SYSTEMD_PAGER": "cat"}
        done = subprocess.run(inside, input=stdin, capture_output=True, text=True, timeout=90, env={**environment, "HOME": "/root"})
        with open(self._stage.directory / "commands.log", "a") as log:
            log.write(f"# {shlex.join(map(str, command))}\n{done.stdout}{done.stderr}# exit {done.returncode}\n\n")
        return done.returncode, done.stdout + done.stderr

    def must(self, *command, stdin=None):
        """The same for what has to succeed."""
        code, text = self.run(*command, stdin=stdin)
        if code != 0:
            raise RuntimeError(f"{shlex.join(map(str, command))}: {code}: {text[-2000:]}")
        return text

    def write(self, path, text):
        self.must("tee", path, stdin=text)

    def read(self, path):
        return self.must("cat", path)

    def install(self, source, path):
        """A file of the tier's machine, by the same permission bits that `install` gives."""
        # The work directory is another file system inside; what it holds is handed over.
        with open(source, "rb") as file:
            inside = ["nsenter", "--target", str(self._first), "--all", "--", "sh", "-c", f"cat > {shlex.quote(path)} && chmod 755 {shlex.quote(path)}"]
            subprocess.run(inside, stdin=file, check=True, env={"PATH": os.environ["PATH"]})

    def property(self, unit, name):
        return self.must("systemctl", "show", "--value", "--property", name, unit).strip()
