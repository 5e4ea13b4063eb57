"""Real file systems that a scenario mounts for a trail, fills, forces read-only and freezes: in a mount namespace of its own."""

import os
import shutil
import subprocess
import sys


def own_mounts():
    """Begins the scenario anew where its mounts are nobody else's, and gone with it."""
    if os.environ.get("REAL_MOUNTS") == "yes":
        return
    os.environ["REAL_MOUNTS"] = "yes"
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def _must(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.returncode}: {done.stdout}{done.stderr} (file systems can be mounted by root only)")


class Memory:
    """A tmpfs of so many MiB."""

    def __init__(self, place, size):
        self.place = place
        place.mkdir(parents=True, mode=0o700, exist_ok=True)
        _must("mount", "-t", "tmpfs", "-o", f"size={size}m,mode=700", "tmpfs", place)

    def fill(self):
        """Takes every byte that is left."""
        with open(self.place / "filler", "wb", buffering=0) as filler:
            chunk = b"x" * 65536
            while chunk:
                try:
                    filler.write(chunk)
                except OSError:
                    chunk = chunk[: len(chunk) // 2]

    def free(self):
        (self.place / "filler").unlink()


def has_loop_devices():
    """Whether a file can be mounted as a disk here: some containers have no loop devices."""
    found = subprocess.run(["losetup", "--find"], capture_output=True, text=True, timeout=60)
    return found.returncode == 0 and all(shutil.which(tool) for tool in ("mkfs.ext4", "e2fsck", "fsfreeze"))


class Image:
    """An ext4 of so many MiB in a file."""

    def __init__(self, place, file, size):
        self.place, self._file, self._copies = place, file, 0
        place.mkdir(parents=True, mode=0o700, exist_ok=True)
        with open(file, "wb") as image:
            image.truncate(size * 1024 * 1024)
        _must("mkfs.ext4", "-q", file)
        _must("mount", "-o", "loop", file, place)

    def abort(self):
        """The kernel gives up on it and leaves it read-only, as after an error of the device, whoever has files open."""
        _must("mount", "-o", "remount,abort", self.place)

    def repair(self):
        """What an administrator does then: detach it, check it, mount it again. The check is of a copy, as files are still open."""
        _must("umount", "--lazy", self.place)
        self._copies += 1
        copy = self._file.with_suffix(f".{self._copies}")
        shutil.copyfile(self._file, copy)
        done = subprocess.run(["e2fsck", "-p", str(copy)], capture_output=True, text=True, timeout=60)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"e2fsck: {done.returncode}: {done.stdout}{done.stderr}")
        self._file = copy
        _must("mount", "-o", "loop", copy, self.place)

    def freeze(self):
        """From now on nothing that is written returns."""
        _must("fsfreeze", "--freeze", self.place)

    def thaw(self):
        _must("fsfreeze", "--unfreeze", self.place)
