"""The trail on its way to others: audit messages to rsyslog over mutual TLS, OCSF to a receiver of OpenTelemetry logs, FHIR in
batches. rsyslog and the gateway are killed in between; what arrived is what an export says. What a receiver refuses for good is on
record, and everything else arrives.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, provider, report, tls, trail  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402
from kit.receivers import Collector, Rsyslog  # noqa: E402

HOST = "bench.clinic.test"


def body(it):
    with process.Stage(cache.work("sinks")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        stranger = tls.Authority(stage.directory / "tls-stranger")
        gateway = Gateway(stage, authority)
        repository = Rsyslog(stage, authority).start()
        collector = Collector(stage, cache.CACHE, authority)
        configure(stage, gateway, authority, repository, collector, stranger.client("stranger"))
        _, text = gateway.check()
        it.check("`check` finds the sink with a certificate that rsyslog does not know", "`wrong-certificate` cannot be used" in text and "stranger.pem" in text, text)
        it.check("and nothing wrong with the others", not any(f"`{name}` cannot be used" in text for name in ("repository", "otel", "fhir")), text)
        gateway.start()
        console = Console(gateway.config, stage.directory / "commands.log")

        work(gateway, console, authority, "first")
        everything_arrives(it, "at first", gateway, repository, collector)
        # Messages that rsyslog had taken may be lost with it.
        repository.process.kill()
        work(gateway, console, authority, "while rsyslog is dead")
        repository.start()
        everything_arrives(it, "once rsyslog is back", gateway, repository, collector)
        work(gateway, console, authority, "before the gateway is killed")
        gateway.crash()
        gateway.start()
        work(gateway, console, authority, "after it")
        everything_arrives(it, "after the gateway was killed", gateway, repository, collector)
        _, text = console.ask("status")
        lines = {line.split()[1].removeprefix("sink:"): line for line in text.splitlines() if " sink:" in line}
        it.check("`status` says that they get it", all(lines.get(name, "").startswith("ok ") for name in ("repository", "otel", "fhir")), text)
        it.check("and who does not", lines.get("wrong-certificate", "ok ")[:3] != "ok ", text)
        counts = gateway.metrics("chartgate_sink_messages_total")
        it.check("the metrics count", counts.get('sink="repository",result="ok"', 0) > 0 and not any("wrong-certificate" in key for key in counts), counts)
        what_is_refused_is_on_record(it, gateway, console, authority, repository, collector)
        known = exported(it, stage, console, "atna")
        repository_has(it, repository, known)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        what_arrived_is_the_trail(it, stage, console, repository, collector)
        it.check("no token is in its log", Collector.TOKEN not in gateway.process.text(), "")


def configure(stage, gateway, authority, repository, collector, wrong):
    cert, key = authority.client("gateway-client")
    token = gateway.secret("collector-token", Collector.TOKEN)
    syslog = {"format": "atna", "syslog": f"localhost:{repository.port}", "ca": str(authority.ca), "from": "beginning"}
    by_http = {"ca": str(authority.ca), "token_file": str(token), "from": "beginning"}
    sinks = [
        {"name": "repository", **syslog, "certificate": str(cert), "key": str(key)},
        {"name": "wrong-certificate", **syslog, "certificate": str(wrong[0]), "key": str(wrong[1])},
        {"name": "otel", "format": "ocsf", "otlp": f"{collector.url}/v1/logs", **by_http},
        {"name": "fhir", "format": "fhir", "https": f"{collector.url}/fhir", **by_http},
    ]
    entry = {
        "name": "bench",
        "hosts": [HOST],
        "profile": str(REPOSITORY / "benches" / "profile.toml"),
        # Nobody opens the EMR in this scenario, and nobody signs in.
        "backend": {"url": f"http://127.0.0.1:{net.free_port()}", "protocol": "http1", "host": "public"},
    }
    issuer = provider.OidcProvider(stage, cache.CACHE, authority, [gateway.origin(HOST)])
    gateway.configure(issuer.issuer(), [entry], audit={"sink": sinks})


def work(gateway, console, authority, what):
    """Records: refusals of strangers, and what operators do."""
    stranger = net.browser(authority.ca)
    for number in range(8):
        stranger.get(f"{gateway.origin(HOST)}/charts/{number}?a=b", headers=net.FETCH, allow_redirects=False)
    console.ask("lockdown", "set", "L1", "--reason", f"{what}: <&> \" | = Zürich")
    console.ask("lockdown", "lift", "--reason", "over")


def everything_arrives(it, when, gateway, repository, collector):
    records = [record for record in gateway.trail() if Collector.REFUSED not in json.dumps(record)]
    wanted = {record["entry"]["id"] for record in records if trail.first(record, "phase") in ("refuse", "event")}

    def arrived():
        logs = {entry["body"]["metadata"]["uid"] for entry in collector.got("log")}
        fhir = {entry["id"][:36] for entry in collector.got("fhir")}
        return wanted <= logs and wanted <= fhir and len(set(repository.messages())) >= len(wanted)

    try:
        net.await_true("the trail at its receivers", arrived, 60, 0.5)
        it.check(f"everything arrives {when}", True, "")
    except TimeoutError as late:
        logs = {entry["body"]["metadata"]["uid"] for entry in collector.got("log")}
        it.check(f"everything arrives {when}", False, f"{late}: {len(wanted)} wanted, {len(logs & wanted)} logs, {len(collector.got('fhir'))} FHIR, {len(set(repository.messages()))} messages")


def what_is_refused_is_on_record(it, gateway, console, authority, repository, collector):
    work(gateway, console, authority, Collector.REFUSED)
    work(gateway, console, authority, "behind it")
    everything_arrives(it, "but for what its receiver refuses", gateway, repository, collector)
    got = [entry for kind in ("log", "fhir") for entry in collector.got(kind) if Collector.REFUSED in json.dumps(entry)]
    it.check("which it never took", not got, got[:1])
    code, text = console.ask("audit", "query", "--event", "sink-refused", "--format", "json")
    told = {row["detail"]["sink"]: row["detail"] for row in map(json.loads, text.splitlines())} if code == 0 else {}
    it.equal("it is on record for both", {sink: detail["answer"] for sink, detail in told.items()}, {"otel": "status 400", "fhir": "status 422"})
    _, text = console.ask("status")
    lines = {line.split()[1].removeprefix("sink:"): line for line in text.splitlines() if " sink:" in line}
    it.check("`status` says so", all("refused for good" in lines.get(name, "") for name in ("otel", "fhir")), text)
    it.check("and of nobody else", "refused for good" not in lines.get("repository", ""), text)
    counts = gateway.metrics("chartgate_sink_messages_total")
    it.check("the metrics count it", all(counts.get(f'sink="{name}",result="rejected"', 0) > 0 for name in ("otel", "fhir")), counts)


def once(items):
    return list(dict.fromkeys(items))


def exported(it, stage, console, form):
    file = stage.directory / f"trail-{len(list(stage.directory.glob('trail-*')))}.{form}"
    code, text = console.ask("audit", "export", "--format", form, "--output", str(file))
    it.check(f"the trail is exported as {form}", code == 0, text)
    return file.read_text().splitlines()


def repository_has(it, repository, known):
    """Waits: the sender looks every half second, and what comes at the end of a run goes out with the next one."""
    try:
        net.await_true("the export at rsyslog", lambda: len(once(repository.messages())) >= len(known), 60, 0.5)
    except TimeoutError:
        pass
    it.equal("rsyslog has every message of an export, in their order", once(repository.messages())[: len(known)], known)


def what_arrived_is_the_trail(it, stage, console, repository, collector):
    exported(it, stage, console, "ocsf")
    trail_now = exported(it, stage, console, "atna")
    messages = once(repository.messages())
    it.equal("and nothing that is not in the trail", messages, trail_now[: len(messages)])
    again = len(repository.messages()) - len(messages)
    it.check("some came twice, as syslog has no acknowledgement", again > 0, again)
    logs = collector.got("log")
    it.check("OpenTelemetry logs have their severity, time and origin", all(log["severity"] in range(9, 22) and log["nanoseconds"] > 0 and log["resource"]["service.name"] == "chartgate" for log in logs), logs[:1])
    it.check("and the record's id beside its body", all(log["attributes"]["chartgate.record"] == log["body"]["metadata"]["uid"] for log in logs), logs[:1])
    names = {log["event"] for log in logs}
    it.check("and an event name", {"chartgate.started", "chartgate.lockdown"} <= names, names)


report.run("The trail on its way to others", body)
