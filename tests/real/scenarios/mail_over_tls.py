"""Alarms by mail over TLS: a real mail server with STARTTLS and with TLS from the first byte, under a private CA.

Where the server cannot prove who it is, the alarm does not leave, the gateway says so, and it goes out once it can.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, provider, report, tls, trail  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402
from kit.mail import MailServer  # noqa: E402

HOST = "bench.clinic.test"
REASON = "Ransomware in the billing network"


def body(it):
    with process.Stage(cache.work("mail")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        stranger = tls.Authority(stage.directory / "tls-stranger")
        elsewhere = tls.Authority(stage.directory / "tls-elsewhere", "DNS:mail.elsewhere.test")
        gateway = Gateway(stage, authority)
        good = [MailServer(stage, cache.CACHE, name, security, authority).start() for name, security in (("by-starttls", "starttls"), ("by-tls", "tls"))]
        # Certificates of a CA that is not trusted, one for another name, and none at all.
        bad = [
            MailServer(stage, cache.CACHE, "stranger-starttls", "starttls", stranger).start(),
            MailServer(stage, cache.CACHE, "stranger-tls", "tls", stranger).start(),
            MailServer(stage, cache.CACHE, "other-name", "starttls", elsewhere).start(),
            MailServer(stage, cache.CACHE, "no-starttls", "clear").start(),
        ]
        thief = MailServer(stage, cache.CACHE, "wrong-password", "starttls", authority).start()
        configure(stage, gateway, authority, elsewhere, good, bad, thief)
        code, text = gateway.check("--offline")
        it.check("`check` finds nothing wrong", code == 0, text)
        gateway.start()
        console = Console(gateway.config, stage.directory / "commands.log")

        a_test(it, console, good, bad, thief)
        an_alarm(it, console, gateway, good, bad, thief)
        the_right_certificate(it, gateway, console, authority, bad)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        it.check("no password is in its log", MailServer.PASSWORD not in gateway.process.text() and "Wrong-pass-1" not in gateway.process.text(), "")


def configure(stage, gateway, authority, elsewhere, good, bad, thief):
    password = gateway.secret("mail-password", MailServer.PASSWORD)
    receivers = [server.receiver(password, authority.ca) for server in (*good, *bad)]
    # What is wrong with this one is its name alone.
    next(r for r in receivers if r["name"] == "other-name")["ca"] = str(elsewhere.ca)
    receivers.append(thief.receiver(gateway.secret("wrong-password", "Wrong-pass-1"), authority.ca))
    entry = {
        "name": "bench",
        "hosts": [HOST],
        "profile": str(REPOSITORY / "benches" / "profile.toml"),
        # Nobody opens the EMR in this scenario, and nobody signs in.
        "backend": {"url": f"http://127.0.0.1:{net.free_port()}", "protocol": "http1", "host": "public"},
    }
    issuer = provider.OidcProvider(stage, cache.CACHE, authority, [gateway.origin(HOST)])
    gateway.configure(issuer.issuer(), [entry], notify={"smtp": receivers})


def a_test(it, console, good, bad, thief):
    code, text = console.ask("notify", "test")
    said = {line.split()[1].rstrip(":"): line for line in text.splitlines() if line.startswith(("ok ", "FAILED "))}
    it.equal("`notify test` ends with 1 where somebody was not reached, and names everybody", (code, set(said)), (1, {s.name for s in (*good, *bad, thief)}))
    for server in good:
        it.check(f"{server.name}: ok", said.get(server.name, "").startswith("ok "), text)
        [mail] = server.await_about("chartgate.notify.test") or [None]
        it.check("the mail arrived, to everyone who is named", mail and mail["to"] == "on-call@clinic.test, privacy@clinic.test" and mail["from"] == "chartgate@clinic.test", mail)
    for server, words in ((bad[0], "certificate"), (bad[1], "certificate"), (bad[2], "certificate"), (bad[3], "STARTTLS"), (thief, "535")):
        it.check(f"{server.name}: failed, and why", said.get(server.name, "").startswith("FAILED") and words.lower() in said[server.name].lower(), said.get(server.name, text))
        it.equal("and nothing arrived", len(server.mails()), 0)


def an_alarm(it, console, gateway, good, bad, thief):
    code, text = console.ask("lockdown", "set", "L1", "--reason", REASON)
    it.check("`lockdown set` raises an alarm", code == 0, text)
    for server in good:
        [mail] = server.await_about("rule     lockdown")
        it.check(f"which arrives {server.name}", mail["subject"].startswith("[Chartgate ward-gateway]") and "level" in mail.get_content(), mail)
    [alarm] = [r for r in trail.select(gateway.trail(), event="alarm") if trail.first(r, "rule") == "lockdown"]
    it.check("with the id of its record, the same in each", {server.about("rule     lockdown")[0]["message-id"] for server in good} == {f"<{alarm['entry']['id']}@ward-gateway.chartgate>"}, alarm)
    others = [*bad, thief]

    def tried():
        counts = gateway.metrics("chartgate_notify_deliveries_total")
        return all(counts.get(f'receiver="{s.name}",result="failed"', 0) >= 2 for s in others) and counts

    counts = net.await_true("a second attempt at each", tried, 20)
    it.check("the metrics count both", all(counts.get(f'receiver="{s.name}",result="ok"', 0) >= 2 for s in good) and not any(f'receiver="{s.name}",result="ok"' in counts for s in others), counts)
    code, text = console.ask("status")
    lines = {s.name: next((line for line in text.splitlines() if f"notify:{s.name} " in line), "") for s in (*good, *others)}
    it.check("`status` says who is not reached, and who is", all(lines[s.name].startswith("ok ") for s in good) and all(lines[s.name] and not lines[s.name].startswith("ok ") for s in others), text)
    it.equal("nothing arrived where the server did not prove who it is, or the account was wrong", [s.name for s in others if s.mails()], [])
    talked = [s.name for s in bad if "a password was sent" in s.process.text()]
    it.check("nor was a password sent there, as it was to the others", not talked and all("a password was sent" in s.process.text() for s in (*good, thief)), talked)


def the_right_certificate(it, gateway, console, authority, bad):
    mended = bad[:3]
    for server in mended[:2]:
        server.process.stop(seconds=3)
        server.start(authority)
    for server in mended[:2]:
        [mail] = server.await_about("rule     lockdown", 30)
        it.check(f"{server.name}: with a certificate that is trusted, what was raised meanwhile arrives", REASON in mail["subject"], mail)
    net.await_true("status", lambda: all(any(f"notify:{s.name} " in line and line.startswith("ok ") for line in console.ask("status")[1].splitlines()) for s in mended[:2]), 10)
    it.equal("and the others still wait", [s.name for s in bad[2:] if s.mails()], [])


report.run("Alarms by mail over TLS", body)
