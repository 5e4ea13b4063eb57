"""The trail archived in an S3-compatible store with Object Lock: in compliance mode, where nobody can remove it.

The store (moto, over TLS) checks signatures, rights and locks. Segments arrive byte for byte; deleting and shortening are
refused to an account that may do both; what is written over them or hidden does not get into a restore, which
`audit verify` proves with the public key. Legal holds reach the store, and are released by somebody else.
"""

import datetime
import pathlib
import sys
import tomllib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, provider, report, tls, trail  # noqa: E402
from kit.bucket import Bucket  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import Gateway, REPOSITORY, toml  # noqa: E402

HOST = "bench.clinic.test"
DAY = datetime.timedelta(days=1)


def body(it):
    with process.Stage(cache.work("archive")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        bucket = Bucket(stage, cache.CACHE, authority, "chartgate-trail", locked=True).start()
        configure(stage, gateway, authority, bucket)
        code, text = gateway.check("--offline")
        it.check("`check` finds nothing wrong", code == 0, text)
        console = Console(gateway.config, stage.directory / "commands.log")
        # A segment for each run; one that ends in good order, one that does not.
        gateway.start()
        it.equal("nothing is archived at first", console.ask("audit", "archive", "list"), (0, "nothing was archived yet\n"))
        gateway.stop()
        gateway.start()
        gateway.crash()
        gateway.start()

        listed = archived(it, console, gateway, bucket)
        nobody_removes_it(it, bucket, listed)
        covered_and_hidden(it, console, gateway, bucket, listed, stage.directory / "restored")
        held(it, console, bucket, listed)
        store_refuses(it, console, gateway, bucket)
        released(it, console, gateway, bucket, listed)
        on_record(it, console, gateway)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        without_gateway(it, console, gateway, bucket, stage.directory)
        log = gateway.process.text() + (stage.directory / "commands.log").read_text()
        it.check("the bucket's secret is in no log", bucket.secret not in log, "")


def configure(stage, gateway, authority, bucket):
    entry = {
        "name": "bench",
        "hosts": [HOST],
        "profile": str(REPOSITORY / "benches" / "profile.toml"),
        # Nobody opens the EMR in this scenario, and nobody signs in.
        "backend": {"url": f"http://127.0.0.1:{net.free_port()}", "protocol": "http1", "host": "public"},
    }
    issuer = provider.OidcProvider(stage, cache.CACHE, authority, [gateway.origin(HOST)])
    secret = gateway.secret("archive-secret", bucket.secret)
    archive = {**bucket.target(secret), "every": "7d"}
    gateway.configure(issuer.issuer(), [entry], audit={"archive": archive})


def own(gateway, name):
    return (gateway.directory / "audit" / "segments" / pathlib.PurePath(name).name).read_bytes()


def archived(it, console, gateway, bucket):
    code, rows = console.rows("audit", "archive", "run", "--json")
    ran = rows[0] if rows else {}
    it.check("`audit archive run` archives the segments that have ended", code == 0 and ran.get("segments") == ran.get("total") == 2 and not ran["problems"], (code, rows))
    code, listed = console.rows("audit", "archive", "list", "--json")
    it.check("`audit archive list` has them", code == 0 and [row["number"] for row in listed] == [1, 2], listed)
    names = [name for name in bucket.names() if "/segments/" in name]
    it.equal("they lie in the bucket under their names", names, [f"gateway-1/{row['object']}" for row in listed])
    it.check("byte for byte", all(bucket.read(name) == own(gateway, name) for name in names), names)
    expected = (datetime.datetime.now(datetime.timezone.utc) + DAY).date()
    expected = expected.replace(year=expected.year + 6)
    for name in bucket.names():
        head = bucket.head(name)
        locked = head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")
        it.check(f"{name} is locked in compliance mode", locked[0] == "COMPLIANCE" and abs(locked[1].date() - expected) <= DAY, locked)
    notes = [name for name in bucket.names() if "/checkpoints/" in name]
    it.check("checkpoints are archived, too", len(notes) >= 2 and all(b"ward-gateway" in bucket.read(n) or b"\xe2\x80\x94 " in bucket.read(n) for n in notes), notes)
    code, rows = console.rows("audit", "archive", "run", "--json")
    it.check("another run stores nothing again", code == 0 and rows[0]["segments"] == 0 and all(len(bucket.versions(n)) == 1 for n in names), rows)
    code, text = console.ask("audit", "archive", "verify")
    it.check("`audit archive verify` proves it", code == 0 and "2 are locked in compliance mode" in text and text.endswith("intact\n"), (code, text))
    return listed


def nobody_removes_it(it, bucket, listed):
    for row in listed:
        name, version = f"gateway-1/{row['object']}", row["version"]
        it.equal(f"{row['object']}: an account with the right to delete is refused", bucket.refused("delete_object", Key=name, VersionId=version), "AccessDenied")
        it.equal("with the right to bypass governance, too", bucket.refused("delete_object", Key=name, VersionId=version, BypassGovernanceRetention=True), "AccessDenied")
        it.check("it is there", bucket.head(name, version), name)


def covered_and_hidden(it, console, gateway, bucket, listed, to):
    first, second = (f"gateway-1/{row['object']}" for row in listed)
    bucket.write(first, b"CGSEGMNT of somebody else")
    bucket.remove(second)
    code, text = console.ask("audit", "archive", "verify")
    it.check("written over and hidden, what was archived is still proven", code == 0 and text.endswith("intact\n"), (code, text))
    code, text = console.ask("audit", "archive", "restore", "--to", to)
    it.check("and restored", code == 0 and text.startswith("restored 2 segments"), (code, text))
    for row in listed:
        it.check(f"{row['object']}: the same bytes", (to / row["object"]).read_bytes() == own(gateway, row["object"]), row)
    key = gateway.directory / "keys" / "signing.pub"
    code, text = console.run("audit", "verify", "--dir", to, "--key", key, "--witness", to / "checkpoints")
    it.check("`audit verify` is green with the public key", code == 0 and "intact up to record" in text, (code, text))
    it.check("what was restored is not overwritten", console.ask("audit", "archive", "restore", "--to", to)[0] != 0, "")


def held(it, console, bucket, listed):
    code, text = console.ask("audit", "hold", "add", "--matter", "2026-CV-14", "--user", "auditor", "--reason", "Letter of counsel")
    it.check("`audit hold add`", code == 0 and text.startswith("hold 1  2026-CV-14  user auditor"), (code, text))
    code, rows = console.rows("audit", "archive", "run", "--json")
    # The first run was asked for its list by the auditor; in the second nobody did anything.
    states = [bucket.head(f"gateway-1/{row['object']}", row["version"]).get("ObjectLockLegalHoldStatus") for row in listed]
    it.check("the store is told, of the segment with something of theirs alone", code == 0 and states[0] == "ON" and states[1] in (None, "OFF"), (rows, states))
    code, text = console.ask("audit", "hold", "release", "1", "--reason", "Settled")
    it.check("who set it does not release it", code == 1 and "another operator" in text, (code, text))
    code, text = console.ask("audit", "retention")
    it.check("`audit retention` reads it all and finds nothing old", code == 0 and "nothing is older" in text, (code, text))


def store_refuses(it, console, gateway, bucket):
    gateway.stop()
    gateway.start()
    bucket.forbid("s3:PutObject")
    code, text = console.ask("audit", "archive", "run")
    it.check("a store that takes nothing: `audit archive run` fails and says why", code != 0 and "403" in text and "AccessDenied" in text, (code, text))
    line = next((line for line in console.ask("status")[1].splitlines() if " archive " in f" {line} "), "")
    it.check("`status` says so", line and not line.startswith("ok ") and "AccessDenied" in line, line)
    it.check("a metric counts it", gateway.metrics("chartgate_archive_failures_total").get("", 0) >= 1, gateway.metrics("chartgate_archive_failures_total"))
    bucket.forbid(None)
    code, rows = console.rows("audit", "archive", "run", "--json")
    it.check("then it takes the one that is missing", code == 0 and rows[0]["segments"] == 1 and rows[0]["total"] == 3, rows)


def released(it, console, gateway, bucket, listed):
    gateway.stop()
    table = tomllib.loads(gateway.config.read_text())
    table["admin"]["operators"] = {uid: "second-auditor" for uid in table["admin"]["operators"]}
    gateway.config.write_text(toml(table))
    gateway.start()
    code, text = console.ask("audit", "hold", "release", "1", "--reason", "Settled")
    it.check("another operator releases it", code == 0 and "released" in text, (code, text))
    code, rows = console.rows("audit", "archive", "run", "--json")
    first = listed[0]
    state = bucket.head(f"gateway-1/{first['object']}", first["version"]).get("ObjectLockLegalHoldStatus")
    it.check("and the store is told", code == 0 and rows[0]["holds"] >= 1 and state == "OFF", (rows, state))


def on_record(it, console, gateway):
    records = gateway.trail()
    stored = trail.select(records, event="segment_archived")
    it.check("each segment is on record with its hash and its lock", len(stored) == 4 and all(len(trail.first(r, "sha256")) == 64 and trail.first(r, "locked_until") for r in stored), len(stored))
    it.equal("so are the hold and its release", [trail.first(r, "operator") for e in ("legal_hold_set", "legal_hold_released") for r in trail.select(records, event=e)], ["auditor", "second-auditor"])
    alarms = [trail.first(r, "rule") for r in trail.select(records, event="alarm") if trail.first(r, "rule").startswith("archive")]
    it.equal("the failed run raised an alarm, nothing else did", alarms, ["archive-failed"])
    line = next((line for line in console.ask("status")[1].splitlines() if " archive " in f" {line} "), "")
    it.check("`status` is in order again", line.startswith("ok "), line)
    code, text = gateway.verify()
    it.check("`audit verify` is green", code == 0, text)


def without_gateway(it, console, gateway, bucket, directory):
    code, text = console.ask("audit", "archive", "verify")
    it.check("with the gateway stopped, `audit archive verify` reads the bucket itself", code == 0 and "compared with what the gateway remembers" in text and text.endswith("intact\n"), (code, text))
    copy = bucket.download(directory / "copy") / "gateway-1"
    code, text = console.run("audit", "archive", "verify", "--directory", copy, "--key", gateway.directory / "keys" / "signing.pub")
    it.check("a plain copy of the bucket shows what was written over the first segment", code == 1 and "PROBLEM segments/" in text, (code, text))


report.run("The trail archived in a bucket with Object Lock", body)
