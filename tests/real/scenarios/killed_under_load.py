"""`kill -9` while requests are in flight: whatever reached the EMR is on record, and recovery says what it did.

`REAL_ROUNDS` repeats it; the tier runs one round.
"""

import datetime
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import requests  # noqa: E402

from kit import cache, login, net, process, provider, report, tls, trail  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST = "bench.clinic.test"
CLIENTS = 16


def body(it):
    with process.Stage(cache.work("killed")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        origin = gateway.origin(HOST)
        seen_file = stage.directory / "reached-the-emr"
        backend_port = net.free_port()
        backend = stage.start("backend", [sys.executable, pathlib.Path(__file__).parents[1] / "parts" / "witness_backend.py", backend_port, seen_file])
        net.await_port(backend_port, 10, backend.alive)
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin]).start()
        gateway.configure(
            issuer.issuer(),
            [
                {
                    "name": "bench",
                    "hosts": [HOST],
                    "profile": str(REPOSITORY / "benches" / "profile.toml"),
                    "backend": {"url": f"http://127.0.0.1:{backend_port}", "protocol": "http1", "host": "public"},
                }
            ],
            limits={"address": "1000000/1m burst 1000000", "user": "1000000/1m burst 1000000"},
        )
        gateway.start()
        session = net.browser(authority.ca)
        page = login.sign_in(session, f"{origin}/bench/7/begin", login.people()["physician"], issuer.url)
        it.equal("a physician signs in", page.status_code, 200)
        for number in range(int(os.environ.get("REAL_ROUNDS", "1"))):
            awake(origin, session, issuer)
            one_round(it, number, gateway, origin, session, seen_file)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        every_act_has_an_outcome(it, "over all rounds", gateway.trail())
        code, text = gateway.verify()
        it.check("`audit verify` is green after the stop", code == 0, text)


# Longer than this, the machine was suspended: a session may idle for 15 minutes.
LONG = 600


def awake(origin, session, issuer):
    """Has the physician sign in again where the session idled for too long: the machine slept, the gateway is right."""
    if session.get(f"{origin}/bench/7/awake", headers=net.FETCH).status_code != 200:
        print("  the session was over; the physician signs in again", flush=True)
        login.sign_in(session, f"{origin}/bench/7/begin", login.people()["physician"], issuer.url)


def one_round(it, number, gateway, origin, session, seen_file):
    began = time.time()
    answered = under_load(number, gateway, origin, session, seen_file)
    reached = {line for line in seen_file.read_text().splitlines() if line.startswith(f"/bench/7/r{number}-")}
    it.check(f"round {number}: the load reached the EMR before the kill", len(reached) > 200 and len(answered) > 200, (len(reached), len(answered)))
    code, text = gateway.verify()
    it.check(f"round {number}: `audit verify` is green on what the crash left", code == 0, text)
    gateway.start()
    records = gateway.trail("--since", f"{datetime.datetime.fromtimestamp(began - 1, datetime.timezone.utc):%FT%TZ}")
    acts = trail.select(records, phase="admit")
    recorded = {trail.first(r, "path") for r in acts}
    lost = reached - recorded
    it.check(f"round {number}: all {len(reached)} requests that reached the EMR are on record", not lost, (len(lost), sorted(lost)[:5]))
    it.check(f"round {number}: so is everything that was answered", answered <= recorded, sorted(answered - recorded)[:5])
    own = [r for r in acts if trail.first(r, "path") in reached]
    since = [r for r in records if own and r["seq"] > own[0]["seq"]]
    unknown = [r for r in trail.select(since, phase="outcome") if r["entry"]["outcome"]["end"] == "unknown"]
    events = {trail.first(r, "event") for r in since}
    it.check(f"round {number}: the restart is on record", "started" in events, events)
    it.check(f"round {number}: so is that the run before did not stop, with {len(unknown)} open admissions", "recovered" in events, events)
    every_act_has_an_outcome(it, f"round {number}", records)
    code, text = gateway.verify()
    it.check(f"round {number}: `audit verify` is green after recovery", code == 0, text)
    again = session.get(f"{origin}/bench/7/again-{number}", headers=net.FETCH)
    slept = time.time() - began > LONG
    it.check(f"round {number}: the user's session survived", again.status_code == 200 or slept, (again.status_code, again.text[:300]))


def every_act_has_an_outcome(it, when, records):
    ended = {trail.first(r, "of") for r in trail.select(records, phase="outcome")}
    open_ones = [r for r in trail.select(records, phase="admit") if r["entry"]["id"] not in ended]
    it.check(f"{when}: every admission has an outcome, known or not", not open_ones, trail.brief(open_ones[:5]))


def under_load(number, gateway, origin, session, seen_file):
    """Sends until the gateway is killed in the middle; returns the paths that were answered."""
    answered, lock, stop = set(), threading.Lock(), threading.Event()

    def client(index):
        own = net.browser(session.verify)
        own.cookies.update(session.cookies)
        count = 0
        while not stop.is_set():
            path = f"/bench/7/r{number}-{index}-{count}"
            count += 1
            try:
                answer = own.get(origin + path, headers=net.FETCH, timeout=10)
            except requests.RequestException:
                return
            if answer.status_code == 200:
                with lock:
                    answered.add(path)

    threads = [threading.Thread(target=client, args=(index,)) for index in range(CLIENTS)]
    for thread in threads:
        thread.start()
    before = seen_file.stat().st_size
    net.await_true("load", lambda: seen_file.stat().st_size - before > 20_000, 60, 0.01)
    time.sleep(0.05 * (number % 7))
    gateway.crash()
    stop.set()
    for thread in threads:
        thread.join()
    return answered


report.run("Killed under load", body)
