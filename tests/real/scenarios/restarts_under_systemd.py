"""Installed as the manual says, under a real systemd: callers who never pause do not notice that it is restarted.

systemd is PID 1 of namespaces of its own, with its own cgroups and a disk that is thrown away (`kit/manager.py`). The
commands, the service and the socket unit are those of docs/operating.md, word for word.
"""

import pathlib
import sys
import time
import tomllib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, login, manual, net, process, provider, report, tls  # noqa: E402
from kit.callers import Caller  # noqa: E402
from kit.gateway import REPOSITORY, binary, toml  # noqa: E402
from kit.manager import Machine  # noqa: E402

HOST = "emr.clinic.test"
ORIGIN = f"https://{HOST}"
UNIT = "chartgate.service"
SOCKET = "chartgate.socket"


def body(it):
    with process.Stage(cache.work("systemd")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        seen = stage.directory / "reached-the-emr"
        port = net.free_port()
        backend = stage.start("backend", [sys.executable, REPOSITORY / "tests" / "real" / "parts" / "witness_backend.py", port, seen])
        net.await_port(port, 10, backend.alive)
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [ORIGIN]).start()
        machine = Machine(stage).boot()
        first = machine.read("/proc/1/comm").strip()
        it.check("systemd is the first process, and in order", first == "systemd" and machine.run("systemctl", "is-system-running")[1].strip() == "running", (first, machine.run("systemctl", "--failed")[1]))

        install(it, machine, issuer, authority, f"http://127.0.0.1:{port}")
        the_service_alone(it, machine)
        ca = stage.directory / "gateway-ca.pem"
        ca.write_text(machine.read("/etc/chartgate/certs/ca.pem") + authority.ca.read_text())
        with_the_socket(it, machine)
        session = sign_in(it, ca, issuer)
        nobody_notices_a_restart(it, machine, ca, session)
        after_a_crash(it, machine, ca)
        configuration_errors(it, machine, ca)
        code, text = machine.run("systemctl", "stop", UNIT)
        it.check("it stops in good order", code == 0 and machine.property(UNIT, "Result") == "success", text)
        code, text = machine.run("chartgate", "audit", "verify", "--config", "/etc/chartgate/chartgate.toml")
        it.check("`audit verify` is green after all of it", code == 0, text)
        (stage.directory / "journal.log").write_text(machine.run("journalctl", "--unit", UNIT, "--unit", SOCKET)[1])


def install(it, machine, issuer, authority, emr):
    """The manual's commands, with the names of this test."""
    names = {
        "emr.hospital.example": HOST,
        "https://emr.internal:8443": emr,
        "https://login.hospital.example/realms/staff": issuer.url,
        "sudo -u chartgate ": "runuser -u chartgate -- ",
    }
    given = [command for block in manual.blocks("operating", "sh")[:2] for command in manual.commands(block)]
    made = [command for command in given if not command.startswith(("cargo ", "install -m 755 "))]
    it.check("the manual installs in so many commands", len(made) == 6 and made[0].startswith("useradd") and made[1].startswith("chartgate init"), given)
    machine.install(binary(), "/usr/local/bin/chartgate")
    for command in made[:3]:
        for name, real in names.items():
            command = command.replace(name, real)
        code, text = machine.run("sh", "-c", command)
        it.check(f"`{command.split(' --')[0]}`", code == 0, text)
    settings(machine, issuer, authority)
    for command in made[3:]:
        for name, real in names.items():
            command = command.replace(name, real)
        code, text = machine.run("sh", "-c", command)
        it.check(f"`{command.split(' --config')[0]}`", code == 0, text)


def settings(machine, issuer, authority):
    """What the manual's table says, and what this test's provider and EMR need."""
    table = tomllib.loads(machine.read("/etc/chartgate/chartgate.toml"))
    machine.write("/etc/chartgate/certs/provider-ca.pem", authority.ca.read_text())
    machine.write("/etc/chartgate/policies/emr/bench.toml", (REPOSITORY / "benches" / "profile.toml").read_text())
    machine.write("/etc/chartgate/secrets/client_secret", provider.CLIENT_SECRET + "\n")
    machine.must("chmod", "600", "/etc/chartgate/secrets/client_secret")
    table["identity"]["issuer"] = [{**issuer.issuer(), "ca": "certs/provider-ca.pem", "client_secret_file": "secrets/client_secret"}]
    table["emr"][0].update(name="bench", profile="policies/emr/bench.toml")
    table["audit"].update(directory="/var/lib/chartgate/trail", witnesses=["/srv/witness/checkpoints"])
    table["store"]["path"] = "/var/lib/chartgate/store.redb"
    table["backup"]["target"] = {"directory": "/srv/backups/chartgate"}
    table["admin"].update(socket="/run/chartgate/admin.sock", operators={"0": "operator"})
    table["limits"].update(address="1000000/1m burst 1000000", user="1000000/1m burst 1000000")
    machine.write("/etc/chartgate/chartgate.toml", toml(table))


def the_service_alone(it, machine):
    unit = manual.block("operating", "ini", "Type=notify")
    machine.write(f"/etc/systemd/system/{UNIT}", unit)
    code, text = machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
    it.check("systemd finds nothing wrong with the manual's service", code == 0 and UNIT not in text, text)
    machine.must("systemctl", "daemon-reload")
    code, text = machine.run("systemctl", "enable", "--now", UNIT)
    it.check("it starts, and says itself that it is ready", code == 0 and machine.property(UNIT, "ActiveState") == "active", (text, machine.run("journalctl", "--unit", UNIT)[1][-1500:]))
    pid = machine.property(UNIT, "MainPID")
    status = dict(line.split(":", 1) for line in machine.read(f"/proc/{pid}/status").splitlines())
    it.check("not as root, with one capability", status["Uid"].split()[0] != "0" and int(status["CapEff"], 16) == 1 << 10 and status["NoNewPrivs"].strip() == "1", (status["Uid"], status["CapEff"]))
    code, text = machine.run("systemctl", "reload", UNIT)
    log = machine.run("journalctl", "--unit", UNIT)[1]
    it.check("`systemctl reload` has the certificates read again, by the same process", code == 0 and machine.property(UNIT, "MainPID") == pid and "certificate" in log, log[-1500:])


def with_the_socket(it, machine):
    given = manual.block("operating", "ini", "[Socket]")
    path = f"/etc/systemd/system/{SOCKET}"
    machine.write(path, given)
    service = machine.read(f"/etc/systemd/system/{UNIT}")
    machine.write(f"/etc/systemd/system/{UNIT}", service.replace("[Unit]\n", "[Unit]\nRequires=chartgate.socket\nAfter=chartgate.socket\n"))
    code, text = machine.run("systemd-analyze", "verify", path)
    it.check("nor with its socket unit", code == 0 and SOCKET not in text, text)
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "stop", UNIT)
    code, text = machine.run("systemctl", "enable", "--now", SOCKET)
    it.check("the socket unit is enabled", code == 0, text)
    code, text = machine.run("systemctl", "start", UNIT)
    it.check("the service starts with the sockets that systemd holds", code == 0, (text, machine.run("journalctl", "--unit", UNIT)[1][-1500:]))
    pid = machine.property(UNIT, "MainPID")
    code, text = machine.run("ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header")
    rows = {row.split()[3]: row for row in text.splitlines()}
    it.equal("it listens nowhere else", {a for a, row in rows.items() if f"pid={pid}," in row}, {"0.0.0.0:443", "[::]:443", "0.0.0.0:80", "[::]:80", "127.0.0.1:9090"})
    own = [a for a, row in rows.items() if f"pid={pid}," in row and '"systemd",pid=1,' not in row and not a.startswith("127.")]
    it.equal("and each of them for callers is systemd's", own, [])


def sign_in(it, ca, issuer):
    session = net.browser(ca)
    page = login.sign_in(session, f"{ORIGIN}/bench/7/begin", login.people()["physician"], issuer.url)
    it.equal("a physician signs in", page.status_code, 200)
    return session


def nobody_notices_a_restart(it, machine, ca, session):
    cookies = {"Cookie": "; ".join(f"{c.name}={c.value}" for c in session.cookies if c.domain.startswith(HOST)), "User-Agent": session.headers["User-Agent"], **net.FETCH}
    callers = [
        Caller("new connections", "127.0.0.1", 443, HOST, "/bench/7/new", cookies, ca),
        Caller("new connections over IPv6", "::1", 443, HOST, "/bench/7/new6", cookies, ca),
        Caller("a kept connection", "127.0.0.1", 443, HOST, "/bench/7/kept", cookies, ca, kept=True),
        Caller("another over IPv6", "::1", 443, HOST, "/bench/7/kept6", cookies, ca, kept=True),
        Caller("plain http, to be sent to https", "127.0.0.1", 80, HOST, "/bench/7/plain", {}, ca, plain=True, wanted=308),
        Caller("the same over IPv6", "::1", 80, HOST, "/bench/7/plain6", {}, ca, plain=True, wanted=308),
    ]
    for caller in callers:
        caller.begin()
    pids = [machine.property(UNIT, "MainPID")]
    for _ in range(3):
        time.sleep(1)
        code, text = machine.run("systemctl", "restart", UNIT)
        it.check("`systemctl restart`", code == 0, (text, machine.run("journalctl", "--unit", UNIT)[1][-1500:]))
        pids.append(machine.property(UNIT, "MainPID"))
    time.sleep(1)
    for caller in callers:
        caller.end()
    it.equal("each was a new process", len(set(pids)), 4)
    for caller in callers:
        said = f"{caller.name}: {caller.answered} requests over three restarts, none failed (the longest took {caller.longest:.1f} s, {caller.renewed} kept connections were renewed)"
        it.check(said, caller.answered > 30 and not caller.failures, (caller.answered, len(caller.failures), caller.failures[:5]))


def answers(ca, session=None):
    browser = session or net.browser(ca)
    return browser.get(f"{ORIGIN}/bench/7/again", headers=net.FETCH, timeout=40, allow_redirects=False).status_code


def after_a_crash(it, machine, ca):
    before = machine.property(UNIT, "MainPID")
    machine.must("systemctl", "kill", "--signal=KILL", UNIT)
    it.equal("killed, it is started again by itself, and whoever calls meanwhile is answered", answers(ca), 401)
    it.check("by a new process", machine.property(UNIT, "MainPID") not in ("0", before) and machine.property(UNIT, "NRestarts") == "1", machine.property(UNIT, "NRestarts"))


def configuration_errors(it, machine, ca):
    good = machine.read("/etc/chartgate/chartgate.toml")
    machine.write("/etc/chartgate/chartgate.toml", good + "\nnonsense\n")
    code, text = machine.run("systemctl", "restart", UNIT)
    log = machine.run("journalctl", "--unit", UNIT, "--lines", "40")[1]
    it.check("a configuration error: the start fails, with what is wrong in the journal", code != 0 and "nonsense" in log, (text, log[-1500:]))
    time.sleep(2)
    tries = machine.property(UNIT, "NRestarts")
    it.check("it is not tried again and again", machine.property(UNIT, "ActiveState") == "failed" and machine.property(UNIT, "Result") == "exit-code" and tries == "0", (machine.property(UNIT, "ActiveState"), machine.property(UNIT, "Result"), tries))
    # Whoever calls has it tried again; the socket is not held for a service that cannot start.
    impatient = Caller("", "127.0.0.1", 443, HOST, "/", {}, ca).begin()
    net.await_true("systemd gives up", lambda: machine.property(SOCKET, "ActiveState") == "failed", 30, 0.5)
    impatient.end()
    it.check("and with callers it is given up after a few attempts", machine.property(SOCKET, "Result") == "service-start-limit-hit" and not impatient.answered, machine.property(SOCKET, "Result"))
    machine.write("/etc/chartgate/chartgate.toml", good)
    said = [machine.run("sh", "-c", command) for command in manual.commands(manual.block("operating", "sh", "systemctl start chartgate.service"))]
    it.check("mended, it starts again by the commands of the manual", len(said) == 2 and not any(code for code, _ in said) and answers(ca) == 401, said)


report.run("Restarts under systemd", body)
