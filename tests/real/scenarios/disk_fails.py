"""The trail's disk fails under people who click: nothing reaches the EMR that is not on record, and the gateway goes on
by itself when the cause is gone. The disks are real: a tmpfs that fills up, an ext4 that the kernel turns read-only and
that is checked and mounted again, the same frozen. And a start without the master key.
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import requests  # noqa: E402

from kit import cache, disk, login, net, process, provider, report, tls, trail  # noqa: E402
from kit.gateway import Gateway, REPOSITORY, binary  # noqa: E402

HOST = "bench.clinic.test"


class Ward:
    """A gateway before a back end that keeps count, with its trail on a file system of its own."""

    def __init__(self, it, stage, authority, name):
        self.it, self.stage, self.name = it, stage, name
        self.gateway = Gateway(stage, authority)
        self.gateway.directory = stage.directory / name
        self.gateway.config = self.gateway.directory / "chartgate.toml"
        self.origin = self.gateway.origin(HOST)
        self.authority = authority
        self.seen = stage.directory / f"reached-{name}"
        self.clicks = 0
        self.session = None

    def open(self, issuer):
        port = net.free_port()
        backend = self.stage.start(f"backend-{self.name}", [sys.executable, pathlib.Path(__file__).parents[1] / "parts" / "witness_backend.py", port, self.seen])
        net.await_port(port, 10, backend.alive)
        emr = {"name": "bench", "hosts": [HOST], "profile": str(REPOSITORY / "benches" / "profile.toml")}
        self.gateway.configure(
            issuer.issuer(),
            [{**emr, "backend": {"url": f"http://127.0.0.1:{port}", "protocol": "http1", "host": "public"}}],
            limits={"address": "1000000/1m burst 1000000", "user": "1000000/1m burst 1000000"},
            audit={
                "witnesses": [str(self.stage.directory / "witness" / self.name)],
                "segment_bytes": "1MiB",
                "reserve_bytes": "2MiB",
                "stall_after": "1s",
            },
        )
        self.gateway.start()
        self.session = net.browser(self.authority.ca)
        page = login.sign_in(self.session, f"{self.origin}/bench/7/begin", login.people()["physician"], issuer.url)
        self.it.equal(f"{self.name}: a physician signs in", page.status_code, 200)

    def click(self):
        self.clicks += 1
        return self.session.get(f"{self.origin}/bench/7/click-{self.clicks}", headers=net.FETCH, timeout=60)

    def reached(self):
        return self.seen.read_text().splitlines()

    def ready(self):
        session = requests.Session()
        session.trust_env = False
        answer = session.get(f"http://127.0.0.1:{self.gateway.admin_port}/readyz", timeout=10)
        detail = next(check["detail"] for check in answer.json()["checks"] if check["name"] == "trail")
        return answer.status_code, detail

    def outage(self, what, why):
        """The disk has failed: nothing goes through, and `/readyz` says why."""
        for _ in range(2000):
            page = self.click()
            if page.status_code != 200:
                break
        before = self.reached()
        pages = [page, *(self.click() for _ in range(20))]
        codes = {(page.status_code, page.headers.get("x-chartgate-refusal")) for page in pages}
        self.it.equal(f"{what}: every click is refused", codes, {(503, "CG-6001")})
        self.it.equal(f"{what}: nothing is forwarded", self.reached(), before)
        status, detail = self.ready()
        self.it.check(f"{what}: /readyz is red and says why", status == 503 and why in detail, (status, detail))

    def recovered(self, what, kind, why):
        """The cause is gone: it goes on by itself, has lost nothing, and says what it was."""
        net.await_true("clicks go on", lambda: self.click().status_code == 200, 60)
        self.it.equal(f"{what}: /readyz is green again", self.ready()[0], 200)
        self.it.check(f"{what}: it is the same process", self.gateway.process.alive())
        records = self.gateway.trail()
        recorded = {trail.first(r, "path") for r in trail.select(records, phase="admit")}
        lost = [path for path in self.reached() if path not in recorded]
        self.it.check(f"{what}: all {len(self.reached())} requests that reached the EMR are on record", not lost, lost[:5])
        degraded = [r["entry"]["detail"] for r in trail.select(records, event="audit_degraded", what=kind)]
        self.it.check(f"{what}: what it was and why is on record", any(why in detail["why"] for detail in degraded), degraded)
        restored = [r["entry"]["detail"] for r in trail.select(records, event="audit_restored", what=kind)]
        self.it.check(f"{what}: so is how many were refused meanwhile", restored and int(restored[-1]["refused"]) >= 20, restored)
        code, text = self.gateway.verify()
        self.it.check(f"{what}: `audit verify` is green", code == 0, text)

    def close(self):
        self.it.check(f"{self.name}: the gateway ends in good order", self.gateway.stop() == 0, self.gateway.process.text()[-800:])
        code, text = self.gateway.verify()
        self.it.check(f"{self.name}: `audit verify` is green after the stop", code == 0, text)


def body(it):
    with process.Stage(cache.work("disk-fails")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        memory, ext4 = Ward(it, stage, authority, "memory"), Ward(it, stage, authority, "ext4")
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [memory.origin, ext4.origin]).start()
        for ward in (memory, ext4):
            ward.gateway.secret("client-secret", "gw-secret-0123456789-0123456789-01")
        full_and_without_key(it, memory, issuer, disk.Memory(memory.gateway.directory / "audit", 12))
        if not disk.has_loop_devices():
            print("  LEFT OUT  a disk that becomes read-only or hangs: no file can be mounted as a disk here", flush=True)
            return
        read_only_and_frozen(ext4, issuer, disk.Image(ext4.gateway.directory / "audit", stage.directory / "disk", 24))


def full_and_without_key(it, ward, issuer, memory):
    ward.open(issuer)
    memory.fill()
    ward.outage("a full disk", "No space left on device")
    memory.free()
    ward.recovered("a full disk", "failed", "No space left on device")
    ward.close()
    key = ward.gateway.directory / "keys" / "master.key"
    key.rename(key.with_suffix(".away"))
    done = subprocess.run([binary(), "serve", "--config", ward.gateway.config], capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    it.check("without the master key it does not start, and names the file", done.returncode != 0 and str(key) in said, (done.returncode, said[-600:]))
    key.with_suffix(".away").rename(key)
    ward.gateway.start()
    it.equal("with it, the physician goes on", ward.click().status_code, 200)
    ward.close()


def read_only_and_frozen(ward, issuer, image):
    ward.open(issuer)
    image.abort()
    ward.outage("a disk that became read-only", "Read-only file system")
    image.repair()
    ward.recovered("a disk that became read-only", "failed", "Read-only file system")
    image.freeze()
    try:
        ward.outage("a disk that hangs", "has not answered for")
    finally:
        image.thaw()
    ward.recovered("a disk that hangs", "stalled", "has not answered for")
    ward.close()


disk.own_mounts()
report.run("The trail's disk fails", body)
