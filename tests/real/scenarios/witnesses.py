"""Witnesses beside a file: `chartgate witness serve` with mutual TLS and a token, rsyslog with mutual TLS, a bucket with Object Lock.

Each alone proves the trail. One that is gone is lost and found on record, one that hangs holds nothing up, and a trail
that was rolled back is known to who was out of its reach. What time it is, chrony says on every checkpoint.
"""

import datetime
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, provider, report, tls, trail  # noqa: E402
from kit.bucket import Bucket  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import Gateway, REPOSITORY, binary  # noqa: E402
from kit.rsyslog import Receiver  # noqa: E402
from kit.timeserver import TimeServer  # noqa: E402

HOST = "bench.clinic.test"
TOKEN = "witness-token-0123456789-0123456789"
YEARS = 7


class Witness:
    """`chartgate witness serve`."""

    def __init__(self, stage, authority, gateway):
        self._stage, self._authority, self._gateway = stage, authority, gateway
        self.port = net.free_port()
        self.directory = stage.directory / "elsewhere"
        self.directory.mkdir(exist_ok=True)
        self.file, self.key = self.directory / "checkpoints", self.directory / "witness.key"
        self.token = gateway.secret("witness-token", TOKEN)
        subprocess.run([binary(), "witness", "keygen", "--name", "witness.clinic.test", "--key", self.key], check=True, capture_output=True)
        self.url = f"https://localhost:{self.port}/"
        self.process = None

    def start(self):
        self.process = self._stage.start("witness", [
            binary(), "witness", "serve", "--listen", f"127.0.0.1:{self.port}", "--certificate", self._authority.cert, "--key", self._authority.key,
            "--log-key", self._gateway.directory / "keys" / "signing.pub", "--file", self.file, "--cosign-key", self.key,
            "--client-ca", self._authority.ca, "--token-file", self.token])
        net.await_port(self.port, 20, self.process.alive)
        return self


def body(it):
    with process.Stage(cache.work("witnesses")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        witness = Witness(stage, authority, gateway).start()
        receiver = Receiver(stage, authority, "checkpoint").start()
        bucket = Bucket(stage, cache.CACHE, authority, "witness", locked=True).start()
        servers = [TimeServer(stage, name).start() for name in ("time-1", "time-2")]
        configure(stage, gateway, authority, witness, receiver, bucket, servers)
        console = Console(gateway.config, stage.directory / "commands.log")
        the_check(it, console, gateway, witness)
        usual = start(gateway)

        all_take_checkpoints(it, console, gateway, witness, receiver, bucket)
        each_alone_proves_it(it, stage, console, gateway, witness, receiver, bucket)
        nobody_clears_the_bucket(it, console, bucket)
        time_is_told(it, console, gateway, servers)
        lost_and_found(it, console, gateway, witness)
        copy = stage.directory / "copy"
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        shutil.copytree(gateway.directory / "audit", copy)
        hanging(it, console, gateway, witness, usual)
        rolled_back(it, stage, console, gateway, witness, bucket, copy)
        log = "".join(p.text() for p in (gateway.process, witness.process)) + (stage.directory / "commands.log").read_text()
        told = [s for s in (bucket.secret, TOKEN) if s in log]
        it.check("no secret is in a log", not told, told)


def start(gateway):
    """Seconds until it serves."""
    begun = time.monotonic()
    gateway.start()
    return time.monotonic() - begun


def configure(stage, gateway, authority, witness, receiver, bucket, servers):
    cert, key = authority.client("gateway")
    shown = {"ca": str(authority.ca), "certificate": str(cert), "key": str(key)}
    witnesses = [
        {"https": witness.url, **shown, "token_file": str(witness.token), "cosigner": f"{witness.key}.pub"},
        {"syslog": f"localhost:{receiver.port}", **shown},
        {**bucket.target(gateway.secret("bucket-secret", bucket.secret)), "lock_years": YEARS, "every": "1s"},
    ]
    entry = {
        "name": "bench",
        "hosts": [HOST],
        "profile": str(REPOSITORY / "benches" / "profile.toml"),
        # Nobody opens the EMR in this scenario, and nobody signs in: what goes on record is what operators do.
        "backend": {"url": f"http://127.0.0.1:{net.free_port()}", "protocol": "http1", "host": "public"},
    }
    issuer = provider.OidcProvider(stage, cache.CACHE, authority, [gateway.origin(HOST)])
    audit = {"witnesses": witnesses, "checkpoint_interval": "1s", "checkpoint_records": 1}
    clock = {"servers": [server.address() for server in servers], "poll": "16s"}
    gateway.configure(issuer.issuer(), [entry], audit=audit, clock=clock)


def the_check(it, console, gateway, witness):
    code, text = gateway.check("--offline")
    it.check("`check --offline` finds nothing wrong", code == 0, text)
    _, text = gateway.check()
    it.check("`check` asks the witnesses, and they answer", "the witness cannot be used" not in text and "reachability" in text, text)
    good = witness.token.read_text()
    witness.token.write_text("another-token\n")
    code, text = gateway.check()
    witness.token.write_text(good)
    it.check("with a wrong token it says so", code == 64 and "the witness cannot be used" in text and "401" in text, text)


def record(console):
    """Something that goes on record."""
    console.ask("audit", "query", "--limit", "1")


def standing(console, begins):
    """State and detail of a line of `status`."""
    for line in console.ask("status")[1].splitlines():
        state, _, rest = line.strip().partition(" ")
        if rest.strip().startswith(begins):
            return state, rest.strip()
    return "", ""


def names(witness, receiver, bucket):
    return {"https": f"witness:{witness.url}", "syslog": f"witness:syslog localhost:{receiver.port}", "s3": f"witness:s3 {bucket.url}/witness/gateway-1/"}


def all_take_checkpoints(it, console, gateway, witness, receiver, bucket):
    record(console)
    for kind, name in names(witness, receiver, bucket).items():
        state, line = net.await_true(f"a checkpoint at {name}", lambda name=name: (s := standing(console, name)) and "holds checkpoint" in s[1] and s, 20)
        it.equal(f"{kind}: `status` says that it holds a checkpoint", state, "ok")
    held = witness.file.read_text()
    it.check("the HTTPS witness holds notes with its own line", "— witness.clinic.test " in held and "— " in held, held[-600:])
    it.check("rsyslog wrote messages of RFC 5424", receiver.lines() and all("chartgate" in line for line in receiver.lines()), receiver.lines()[-1:])
    now = datetime.datetime.now(datetime.timezone.utc)
    versions = bucket.every_version()
    long = [until for _, _, mode, until in versions if mode == "COMPLIANCE" and until and until > now + datetime.timedelta(days=365 * YEARS)]
    it.check("every object of the bucket is locked in compliance mode for its years", versions and len(long) == len(versions), versions[:2])
    it.check("and the first name is the newest", [name for name, *_ in versions] == sorted(name for name, *_ in versions), versions[:3])
    counts = gateway.metrics("chartgate_witness_attempts_total")
    it.check("the metrics count what each took", len([1 for labels, count in counts.items() if 'result="ok"' in labels and count > 0]) == 3, counts)


def each_alone_proves_it(it, stage, console, gateway, witness, receiver, bucket):
    code, text = console.ask("audit", "verify")
    it.check("`audit verify --config` asks the witnesses", code == 0 and "witnessed up to record" in text, (code, text))
    copy = stage.directory / "auditor"
    shutil.copytree(gateway.directory / "audit", copy)
    objects = stage.directory / "objects"
    bucket.download(objects)
    newest = sorted(objects.rglob("*.note"))[0]
    public = gateway.directory / "keys" / "signing.pub"
    for what, file in (("the file of `witness serve`", witness.file), ("what rsyslog wrote, as it is", receiver.written), ("one object of the bucket", newest)):
        code, text = console.run("audit", "verify", "--dir", copy, "--key", public, "--witness", file)
        said = [line for line in text.splitlines() if line.startswith("witnessed up to record ")]
        it.check(f"offline, {what} vouches for the trail", said and int(said[0].rsplit(" ", 1)[1]) > 0, (code, text))
    segment = sorted((copy / "segments").iterdir())[-1]
    flipped = bytearray(segment.read_bytes())
    flipped[len(flipped.rstrip(b"\0")) - 8] ^= 1
    segment.write_bytes(flipped)
    code, text = console.run("audit", "verify", "--dir", copy, "--key", public, "--witness", receiver.written)
    it.check("and finds it altered when it is", code == 1 and "NOT INTACT" in text, (code, text))


def nobody_clears_the_bucket(it, console, bucket):
    before = bucket.every_version()
    refused = {bucket.refused("delete_object", Key=name, VersionId=version) for name, version, *_ in before[:3]}
    it.check("the store lets nobody remove a note", refused == {"AccessDenied"}, refused)
    for _ in range(5):  # the gateway runs: another note may come meanwhile
        for name in bucket.names():
            bucket.remove(name)
    it.equal("names can be marked as deleted, and are gone from the listing", bucket.names(), [])
    code, text = console.ask("audit", "verify")
    told = [line for line in text.splitlines() if line.startswith("witness s3 ")]
    it.check("the notes are there all the same", code == 0 and [line.endswith("in this trail") for line in told] == [True], (code, text))


def time_is_told(it, console, gateway, servers):
    state, line = net.await_true("the clock", lambda: (s := standing(console, "clock")) and "ntp stratum" in s[1] and s, 20)
    it.check("`status` says what the time servers say", state == "ok" and "answers=2/2" in line, line)
    record(console)

    def on_a_checkpoint():
        notes = (gateway.directory / "audit" / "checkpoints").read_text()
        return [line for line in notes.splitlines() if line.startswith("clock ntp stratum=")]

    lines = net.await_true("a checkpoint with the state of the clock", on_a_checkpoint, 10)
    it.check("and it stands on the checkpoints", "stratum=3" in lines[-1] and "offset=" in lines[-1], lines[-1])
    offset = gateway.metrics("chartgate_clock_offset_seconds")
    it.check("the offset to this machine's own clock is next to nothing", offset and abs(offset[""]) < 0.2, offset)


def lost_and_found(it, console, gateway, witness):
    witness.process.stop()
    record(console)
    line = net.await_true("the status", lambda: (s := standing(console, f"witness:{witness.url}")) and s[0] != "ok" and s[1], 20)
    it.check("a witness that is gone: `status` says so", "did not take the newest checkpoint" in line, line)

    def of(event):
        return [r for r in trail.select(gateway.trail(), event=event) if trail.first(r, "witness") == witness.url]

    net.await_true("its loss on record", lambda: of("witness_lost"), 20)
    alarms = [r for r in trail.select(gateway.trail(), event="alarm") if trail.first(r, "rule") == "witness-lost"]
    it.equal("it is on record, with one alarm", (len(of("witness_lost")), len(alarms)), (1, 1))
    failing = gateway.metrics("chartgate_witnesses_failing")
    it.check("the others go on", standing(console, "witness:syslog")[0] == "ok" and standing(console, "witness:s3")[0] == "ok", failing)
    witness.start()
    net.await_true("its return on record", lambda: of("witness_back"), 20)
    it.equal("back again, it is on record too", standing(console, f"witness:{witness.url}")[0], "ok")


def hanging(it, console, gateway, witness, usual):
    """A witness that takes connections and says nothing: its process is stopped, not ended."""
    subprocess.run(["kill", "-STOP", str(witness.process.pid)], check=True)
    took = start(gateway)
    # How long a start takes on this machine is seen at the first; the rest is slack for what else it does.
    it.check("a witness that hangs holds up the start by 5 s", took < usual + 5 + 3, (took, usual))
    # So much that the trail does not have when it is rolled back behind this.
    for _ in range(60):
        record(console)
    fine = net.await_true("the others", lambda: standing(console, "witness:syslog")[0] == "ok" and "holds" in standing(console, "witness:syslog")[1], 10)
    it.check("and the others not at all", fine, "")
    subprocess.run(["kill", "-CONT", str(witness.process.pid)], check=True)
    net.await_true("the witness", lambda: "holds checkpoint" in standing(console, f"witness:{witness.url}")[1], 30)
    it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])


def rolled_back(it, stage, console, gateway, witness, bucket, copy):
    live = gateway.directory / "audit"
    kept = stage.directory / "kept"
    live.rename(kept)
    shutil.copytree(copy, live)
    done = subprocess.run([binary(), "serve", "--config", gateway.config], capture_output=True, text=True, timeout=60)
    it.check("a trail that was rolled back does not start", done.returncode != 0 and witness.url in done.stderr + done.stdout, done.stderr[-800:])
    code, text = console.ask("audit", "verify")
    it.check("`audit verify` names the first record that is gone", code == 1 and "NOT INTACT" in text, (code, text))
    # With nobody to ask, it starts: the witnesses are silent, and that is seen.
    witness.process.stop()
    bucket.forbid("s3:ListBucketVersions")
    gateway.start()
    record(console)
    witness.start()

    def goes_back(begins):
        """Asked of the metrics: every question to the trail makes it longer."""
        counts = gateway.metrics("chartgate_witness_attempts_total")
        return any(count for labels, count in counts.items() if f'witness="{begins}' in labels and 'result="goes_back"' in labels)

    def alarms():
        return [r for r in trail.select(gateway.trail(), event="alarm") if trail.first(r, "rule") == "trail-rolled-back"]

    net.await_true("the refusal", lambda: goes_back(witness.url), 30)
    state, line = standing(console, f"witness:{witness.url}")
    it.check("a witness that comes back holds what the trail has not: `status` is red for it", state != "ok" and "cut or rolled back" in line, (state, line))
    bucket.forbid(None)
    it.check("so does the bucket, when it may be asked again", net.await_true("its refusal", lambda: goes_back("s3 "), 30), "")
    both = net.await_true("the alarms", lambda: len(found := alarms()) == 2 and found, 20, 1)
    it.equal("each is a critical alarm on record", [(trail.first(r, "level"), trail.first(r, "witness")) for r in both], [("critical", witness.url), ("critical", f"s3 {bucket.url}/witness/gateway-1/")])
    gateway.stop()


report.run("Witnesses and time", body)
