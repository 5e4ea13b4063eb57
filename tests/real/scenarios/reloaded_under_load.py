"""The policy bundle is changed again and again while wrk sends: every request is answered by the EMR, none is dropped.

`REAL_ROUNDS` says how many bundles. Unless it does there are 25, or as many as 90 seconds let through, and five at least: a
debug build takes three seconds to judge each, and more on a slow machine.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, login, net, process, provider, report, tls, trail  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST = "bench.clinic.test"
ROUNDS, FEWEST = int(os.environ.get("REAL_ROUNDS", "25")), 5
SECONDS = float("inf") if "REAL_ROUNDS" in os.environ else 90


def body(it):
    with process.Stage(cache.work("reloaded")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        policies = stage.directory / "policies"
        shutil.copytree(REPOSITORY / "policies", policies)
        gateway = Gateway(stage, authority, policies=policies)
        origin = gateway.origin(HOST)
        seen_file = stage.directory / "reached-the-emr"
        backend_port = net.free_port()
        backend = stage.start("backend", [sys.executable, pathlib.Path(__file__).parents[1] / "parts" / "witness_backend.py", backend_port, seen_file])
        net.await_port(backend_port, 10, backend.alive)
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin]).start()
        entry = {
            "name": "bench",
            "hosts": [HOST],
            "profile": str(REPOSITORY / "benches" / "profile.toml"),
            "backend": {"url": f"http://127.0.0.1:{backend_port}", "protocol": "http1", "host": "public"},
        }
        many = "100000000/24h burst 100000000"
        gateway.configure(issuer.issuer(), [entry], limits={"address": many, "user": many}, policy={"watch_interval": "0s"})
        gateway.start()
        session = net.browser(authority.ca)
        page = login.sign_in(session, f"{origin}/bench/7/begin", login.people()["physician"], issuer.url)
        it.equal("a physician signs in", page.status_code, 200)
        reloaded(it, gateway, session, stage)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        code, text = gateway.verify()
        it.check("`audit verify` is green", code == 0, text)


def reloaded(it, gateway, session, stage):
    console = Console(gateway.config, stage.directory / "console.log")
    cookies = "; ".join(f"{c.name}={c.value}" for c in session.cookies)
    load = subprocess.Popen(
        ["wrk", "-t", "1", "-c", "16", "-d", "24h", "--timeout", "30s", "-H", f"Host: {HOST}", "-H", f"Cookie: {cookies}",
         *[part for name, value in net.FETCH.items() for part in ("-H", f"{name}: {value}")],
         f"https://127.0.0.1:{gateway.port}/bench/7/page"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    bundle = gateway.policies / "bundle.toml"
    begun, tried, activated, took = time.monotonic(), 0, 0, []
    try:
        for number in range(ROUNDS):
            if number >= FEWEST and time.monotonic() - begun > SECONDS:
                break
            tried = number + 1
            bundle.write_text(f'name = "chartgate-hospital"\nversion = "2.{number}.0"\n')
            before = time.monotonic()
            code, text = console.ask("policy", "activate")
            took.append(time.monotonic() - before)
            activated += code == 0 and f"2.{number}.0 is in force" in text
            if code != 0:
                print(text)
                break
        seconds = time.monotonic() - begun
    finally:
        load.send_signal(signal.SIGINT)
        told = load.communicate(timeout=60)[0]
    it.equal(f"all of {tried} bundles were put in force", activated, tried)
    requests = int((re.search(r"(\d+) requests in", told) or [0, 0])[1])
    it.check("wrk sent throughout", requests > tried, told)
    it.check(f"not one of {requests} requests failed", "Non-2xx" not in told and "Socket errors" not in told, told)
    records = gateway.trail()
    events = trail.select(records, phase="event")
    it.check("each bundle is on record", sum(1 for r in events if trail.first(r, "event") == "policy_activated") >= tried, len(events))
    took.sort()
    print(f"reloads: {activated} in {seconds:.0f} s, median {took[len(took) // 2]:.2f} s each; {requests} requests, {requests / seconds:.0f} a second")


report.run("Reloaded under load", body)
