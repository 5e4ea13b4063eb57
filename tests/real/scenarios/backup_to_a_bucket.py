"""Backups in an S3-compatible store over TLS: made, listed, verified, drilled and restored.

Beside what Chartgate owns, a directory of the EMR (Opal's own, with its database file and letters) and a database of
PostgreSQL by its own `pg_dump` are saved. Whoever holds the bucket reads nothing, and changes nothing unnoticed.
"""

import hashlib
import pathlib
import random
import shutil
import sys
import tomllib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, emr, process, provider, report, tls, trail  # noqa: E402
from kit.bucket import Bucket  # noqa: E402
from kit.clinician import Clinician  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.database import Database  # noqa: E402
from kit.gateway import Gateway, REPOSITORY, toml  # noqa: E402

HOST = "opal.clinic.test"
# Patients who stand in the EMR's files and in its database in so many letters.
CANARIES = [b"Quellinghausen", b"Zwyrtekowa", b"MRN000003", b"1957-03-09"]
KINDS = ("trail", "witness", "store.redb", "policies", "config", "keys", "sources/emr-documents", "sources/emr-database")


def body(it):
    with process.Stage(cache.work("bucket")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        origin = gateway.origin(HOST)
        opal = emr.Opal(stage, cache.CACHE, HOST).start()
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin]).start()
        bucket = Bucket(stage, cache.CACHE, authority, "chartgate").start()
        database = Database(stage).start()
        documents = patients(stage, database)
        configure(gateway, opal, issuer, bucket, database, documents)
        code, text = gateway.check()
        it.check("`check` finds nothing wrong", code == 0, text)
        gateway.start()
        console = Console(gateway.config, stage.directory / "commands.log")
        doctor = Clinician(authority, origin, issuer.url)
        it.equal("a physician signs in", doctor.open_opal(doctor.sign_in()).status_code, 302)
        it.equal("and reads a chart", doctor.get("/api/v0.1/patient/3/").status_code, 200)

        first = backup_is_made(it, console, bucket)
        nobody_reads_it(it, bucket, database, documents)
        paths = every_object_is_guarded(it, console, bucket)
        one_alone(it, console, bucket, paths)
        store_refuses(it, console, bucket)
        second = next_one_is_small(it, console, bucket, documents, first)
        rolled_back(it, console, bucket, second)
        strangers(it, console, bucket)
        restored = restore(it, console, stage, bucket, paths)
        same_bytes(it, stage, gateway, database, documents, restored)
        what_is_on_record(it, gateway, console)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        without_gateway(it, console, stage, gateway, bucket)
        log = gateway.process.text() + (stage.directory / "commands.log").read_text()
        told = [s for s in (bucket.secret, *(c.decode() for c in CANARIES)) if s in log]
        it.check("neither the bucket's secret nor patient data are in the log or in what commands said", not told, told)


def patients(stage, database):
    """The EMR's data: a table, and the directory of Opal with letters beside its database file."""
    database.sql("create table patient (mrn text primary key, surname text, first_name text, born date)")
    database.sql("insert into patient values ('MRN900001', 'Quellinghausen', 'Ana', '1957-03-09'), ('MRN900002', 'Zwyrtekowa', 'Betz', '1961-11-30')")
    documents = stage.directory / "documents"
    shutil.copytree(cache.CACHE / "opal-project", documents, symlinks=False, ignore=shutil.ignore_patterns(".git", "node_modules", "__pycache__"))
    (documents / "letters").mkdir()
    (documents / "letters" / "discharge.txt").write_text("Ana Quellinghausen, born 1957-03-09, was discharged today.\n")
    (documents / "letters" / "empty.txt").write_text("")
    (documents / "letters" / "scan.tiff").write_bytes(random.Random(7).randbytes(3_000_001) + b"Zwyrtekowa")
    return documents


def configure(gateway, opal, issuer, bucket, database, documents):
    entry = {
        "name": "opal",
        "hosts": [HOST],
        "profile": str(REPOSITORY / "policies" / "emr" / "opal.toml"),
        "error_pages": "hide",
        "backend": {"url": opal.url, "protocol": "http1", "host": "public"},
    }
    secret = gateway.secret("bucket-secret", bucket.secret)
    gateway.configure(
        issuer.issuer(),
        [entry],
        backup={
            "target": bucket.target(secret),
            "key": str(gateway.directory / "keys" / "backup.key"),
            "source": [{"name": "emr-documents", "directory": str(documents)}, {"name": "emr-database", "command": database.dump(), "timeout": "2m"}],
        },
    )


def backup_is_made(it, console, bucket):
    it.equal("nothing is listed before the first backup", console.ask("backup", "list"), (0, "there is no backup at the target\n"))
    code, rows = console.rows("backup", "run", "--json")
    made = rows[0] if rows else {}
    it.check("`backup run` makes one, with nothing left out", code == 0 and not made.get("problems"), (code, rows))
    it.equal("at the bucket", made.get("target"), f"{bucket.url}/{bucket.name}/gateway-1/")
    code, rows = console.rows("backup", "list", "--json")
    it.check("`backup list` has it", code == 0 and [row["id"] for row in rows] == [made["id"]], rows)
    code, text = console.ask("backup", "verify")
    it.check("`backup verify` finds it intact, and the newest", code == 0 and f"newest {made['id']}, which was compared" in text and "\nintact" in text, (code, text))
    code, text = console.ask("backup", "drill")
    it.check("`backup drill` proves it and measures", code == 0 and f"drilled {made['id']}" in text and "RPO" in text and "RTO" in text, (code, text))
    return made


def nobody_reads_it(it, bucket, database, documents):
    files = [path for path in documents.rglob("*") if path.is_file()]
    clear = b"".join(path.read_bytes() for path in files)
    dumped = process.output(database.dump())
    it.check("each canary can be read in what is saved", all(c in clear + dumped for c in CANARIES) and CANARIES[0] in dumped and CANARIES[2] in clear, [c for c in CANARIES if c not in clear + dumped])
    names = bucket.names()
    stored = {name: bucket.read(name) for name in names}
    it.check("no name of a patient is in the bucket", stored and not [n for n, content in stored.items() for c in CANARIES if c in content or c.decode() in n], names)
    words = [b"dr.adams", b"BEGIN", b"[backup]", b"permit (", b"discharge"]
    it.check("nor a user, a key, a setting, a policy or the name of a file", not [n for n, content in stored.items() for w in words if w in content or w.decode() in n], names)
    it.check("everything lies under the prefix, named by digits", all(n.split("/")[0] == "gateway-1" and n.split("/")[1] in ("objects", "manifests") for n in names), names)


def flipped(content):
    """One bit in the middle."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def every_object_is_guarded(it, console, bucket):
    """Returns which path of the backup lies in which object."""
    kept = {name: bucket.read(name) for name in bucket.names() if "/objects/" in name}
    for name, content in kept.items():
        bucket.write(name, flipped(content))
    code, rows = console.rows("backup", "verify", "--json")
    problems = rows[0]["problems"] if rows else []
    for name, content in kept.items():
        bucket.write(name, content)
    paths = {}
    for name in kept:
        short = name.removeprefix("gateway-1/")
        [*found] = [p for p in problems if p.startswith(f"{short}: ")]
        if len(found) == 1:
            paths[name] = found[0].rsplit("(", 1)[1].split(" of ")[0]
    it.check(f"a byte changed in each of {len(kept)} objects: `verify` names them all, and no other", code == 1 and len(paths) == len(kept) == len(problems), (code, problems[:3], set(kept) - set(paths)))
    for kind in KINDS:
        it.check(f"among them {kind}", any(path == kind or path.startswith(f"{kind}/") for path in paths.values()), sorted(paths.values()))
    return paths


def one_alone(it, console, bucket, paths):
    manifest = min(n for n in bucket.names() if "/manifests/" in n)
    dump = min(n for n, path in paths.items() if path.startswith("sources/emr-database/"))
    for what, name in (("the manifest", manifest), ("the database's dump", dump)):
        content = bucket.read(name)
        bucket.write(name, flipped(content))
        code, text = console.ask("backup", "verify")
        bucket.write(name, content)
        named = [line for line in text.splitlines() if line.startswith("PROBLEM ")]
        it.check(f"one flipped byte of {what} is found, and named", code == 1 and named and name.removeprefix("gateway-1/") in named[0] and "intact" not in text, (code, text))
    bucket.write(dump, content[:-1])
    it.equal("an object that is a byte short is found", console.ask("backup", "verify")[0], 1)
    bucket.remove(dump)
    code, text = console.ask("backup", "verify")
    it.check("one that is gone is missed by name", code == 1 and f"{dump.removeprefix('gateway-1/')} is missing at the target" in text, (code, text))
    bucket.write(dump, content)
    code, text = console.ask("backup", "verify")
    it.check("put back as it was, all is intact", code == 0 and "\nintact" in text, (code, text))


def store_refuses(it, console, bucket):
    bucket.forbid("s3:PutObject")
    code, text = console.ask("backup", "run")
    it.check("a bucket that takes nothing: `backup run` fails and says why", code != 0 and "403" in text and "AccessDenied" in text, (code, text))
    bucket.forbid(None)


def next_one_is_small(it, console, bucket, documents, first):
    before = set(bucket.names())
    (documents / "letters" / "second.txt").write_text("Betz Zwyrtekowa was admitted.\n")
    code, rows = console.rows("backup", "run", "--json")
    made = rows[0] if rows else {}
    it.check("the next `backup run` succeeds again", code == 0 and made.get("files", 0) > first["files"] and not made["problems"], (code, rows))
    new = [name for name in bucket.names() if name not in before and "/objects/" in name]
    it.check("and stores only what is new", made.get("stored", 0) < first["stored"] / 3 and 0 < len(new) < 12, (made.get("stored"), first["stored"], len(new)))
    return made


def rolled_back(it, console, bucket, second):
    [name] = [n for n in bucket.names() if "/manifests/" in n and second["id"] in n]
    content = bucket.read(name)
    bucket.remove(name)
    code, text = console.ask("backup", "verify")
    it.check("a target that was rolled back by one backup is found", code == 1 and f"{second['id']} is gone" in text and "rolled back" in text, (code, text))
    bucket.write(name, content)


def strangers(it, console, bucket):
    for number in range(3):
        bucket.write(f"gateway-1/objects/{hashlib.sha256(str(number).encode()).hexdigest()}", b"x")
    # All of them are known only to who reads every page of the listing.
    pages = len([n for n in bucket.names() if "/objects/" in n]) / bucket.PAGE
    code, text = console.ask("backup", "verify")
    it.check("a listing is read to its last page, and what belongs to no backup is counted", pages > 2 and code == 0 and "3 objects belong to no backup" in text, (pages, code, text))


def restore(it, console, stage, bucket, paths):
    restored = stage.directory / "restored"
    code, text = console.ask("backup", "restore", "--to", restored)
    it.check("`backup restore` from the bucket", code == 0 and "restored " in text, (code, text))
    code, text = console.ask("backup", "restore", "--to", restored)
    it.check("it never overwrites", code != 0 and "is not empty" in text, (code, text))
    name = next(n for n, path in paths.items() if path.startswith("sources/emr-documents/") and len(bucket.read(n)) > 1_000_000)
    content = bucket.read(name)
    bucket.write(name, flipped(content))
    code, text = console.ask("backup", "restore", "--to", stage.directory / "altered")
    bucket.write(name, content)
    it.check("and it gives out nothing that was changed", code != 0 and name.removeprefix("gateway-1/") in text and "restored " not in text, (code, text))
    return restored


def tree(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def same_bytes(it, stage, gateway, database, documents, restored):
    was, now = tree(documents), tree(restored / "sources" / "emr-documents")
    it.check(f"the same {len(was)} files of the EMR come back, byte for byte", was == now, (set(was) ^ set(now), [n for n in was if was.get(n) != now.get(n)]))
    it.check("and those of the policies", tree(gateway.policies).items() >= tree(restored / "policies").items() != set(), sorted(tree(restored / "policies")))
    it.equal("and the configuration", (restored / "config" / "chartgate.toml").read_bytes(), gateway.config.read_bytes())
    keys = {path.name for path in (restored / "keys").iterdir()}
    it.check("of the keys only what opens nothing", "signing.pub" in keys and all(k.endswith((".pub", ".recovery")) for k in keys), keys)
    database.load(restored / "sources" / "emr-database" / "output", "again")
    rows = "select mrn, surname, first_name, born from patient order by mrn"
    it.check("PostgreSQL loads its dump, and the patients are in it", database.sql(rows, "again") == database.sql(rows) != "", database.sql(rows, "again"))
    live = tree(gateway.directory / "audit")
    saved = tree(restored / "trail")
    short = [n for n, content in saved.items() if not live.get(n, b"").startswith(content)]
    it.check("the trail is the live one, up to its record", saved and not short, (sorted(saved), sorted(live), short))


def what_is_on_record(it, gateway, console):
    records = gateway.trail()
    made = trail.select(records, event="backup_made")
    it.equal("each backup is on record, the failed one too", len(made), 3)
    it.check("who asked is on record", all(trail.first(r, "operator") == "auditor" for r in trail.select(records, event="backup_verified")), trail.select(records, event="backup_verified")[:1])
    it.check("so is the drill", len(trail.select(records, event="backup_drilled")) == 1, trail.brief(records))
    alarms = {trail.first(r, "rule") for r in trail.select(records, event="alarm")}
    it.equal("what was changed and what failed raised alarms, nothing else", alarms, {"backup-altered", "backup-failed"})
    code, text = console.ask("status")
    it.check("`status` is in order again for the backup", any(line.split()[:2] == ["ok", "backup"] for line in text.splitlines()), (code, text))
    code, text = gateway.verify()
    it.check("`audit verify` is green", code == 0, text)


def without_gateway(it, console, stage, gateway, bucket):
    code, text = console.ask("backup", "verify")
    it.check("with the gateway stopped, `backup verify` reads the bucket itself", code == 0 and "2 backups" in text and "\nintact" in text, (code, text))
    code, text = console.ask("backup", "list")
    it.check("so does `backup list`", code == 0 and len(text.splitlines()) == 2, (code, text))
    copy = bucket.download(stage.directory / "copy") / "gateway-1"
    keys = gateway.directory / "keys"
    code, text = console.run("backup", "restore", "--to", stage.directory / "from-copy", "--target", copy, "--key", keys / "backup.key", "--signed-by", keys / "signing.pub")
    it.check("a copy of the bucket restores without configuration", code == 0, (code, text))
    it.equal("to the same bytes", tree(stage.directory / "from-copy" / "sources"), tree(stage.directory / "restored" / "sources"))
    other = tls.Authority(stage.directory / "other-tls")
    for what, changes, said in (
        ("a store whose certificate the CA did not sign is not talked to", {"ca": str(other.ca)}, "certificate"),
        ("a wrong secret is refused by the store, and said so", {"secret_access_key_file": str(gateway.secret("wrong-secret", "x" * 40))}, "SignatureDoesNotMatch"),
    ):
        console.config = variant(gateway, changes)
        code, text = console.ask("backup", "list")
        it.check(what, code != 0 and said in text, (code, text))
    console.config = gateway.config


def variant(gateway, changes):
    """The configuration with another key of the bucket's."""
    table = tomllib.loads(gateway.config.read_text())
    table["backup"]["target"]["s3"].update(changes)
    path = gateway.directory / "variant.toml"
    path.write_text(toml(table))
    return path


report.run("Backups in a bucket, of Opal and PostgreSQL", body)
