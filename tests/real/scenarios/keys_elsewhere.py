"""Key files sealed elsewhere: by a key management service over TLS, then by a hardware security module.

What lies on the disk opens nothing by itself; where the service refuses, is away, or the PIN is wrong, nothing starts,
and the message says why.
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, report, tls  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import Gateway, binary, toml  # noqa: E402
from kit.vault import Kms, Token  # noqa: E402

HOST = "opal.clinic.test"
KEYS = ("master", "store", "backup")


def body(it):
    with process.Stage(cache.work("keys")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        plain = configure(gateway)
        console = Console(gateway.config, stage.directory / "commands.log")
        begins(it, gateway, "with keys in clear it starts")
        clear = {name: (gateway.directory / "keys" / f"{name}.key").read_text().splitlines()[1] for name in KEYS}

        kms = Kms(stage, cache.CACHE, authority).start()
        plain_config = gateway.config.read_text()
        gateway.config.write_text(plain_config + toml({"keys": kms.section(gateway.secret("kms-secret", kms.secret))}))
        refuses(it, gateway, "keys in clear where they must be sealed: it does not start, and says what to do", "chartgate keys protect")
        code, text = console.ask("keys", "protect")
        it.check("`keys protect` seals all three", code == 0 and text.count(f"is sealed by kms {kms.key}") == 3, (code, text))
        files_are_sealed(it, gateway, clear, "kms")
        begins(it, gateway, "sealed by the service it starts")
        it.equal("and what was recorded before opens", console.ask("audit", "verify")[0], 0)
        it.check("the change of the keys is on record", any(r["entry"].get("detail", {}).get("sealed_by") == f"kms {kms.key}" for r in gateway.trail()), "")
        code, text = console.ask("keys", "status")
        it.check("`keys status` says what seals them", code == 0 and text.count("sealed by kms") == 3, (code, text))

        code, text = console.ask("keys", "rotate", "master")
        paper = next((line.strip() for line in text.splitlines() if line.startswith("    ")), "")
        it.check("a new master key is sealed too", code == 0 and paper, (code, text))
        files_are_sealed(it, gateway, clear, "kms")
        begins(it, gateway, "and the gateway starts with it")

        kms.forbid("kms:Decrypt")
        refuses(it, gateway, "a service that refuses: it does not start, and says so", "AccessDenied")
        kms.forbid(None)
        begins(it, gateway, "allowed again, it starts")
        kms.process.stop()
        refuses(it, gateway, "a service that is away: it does not start, and says so", "key management service")
        sealed = gateway.config.read_text()
        gateway.config.write_text(plain_config)
        refuses(it, gateway, "sealed keys, and nothing is said of a service: it names the section", "[keys.kms]")
        gateway.config.write_text(sealed)

        for name in KEYS:
            path = gateway.directory / "keys" / f"{name}.key"
            path.unlink()
            recovery = path.with_suffix(".recovery")
            done = subprocess.run([binary(), "keys", "recover", "--recovery", recovery, "--output", path], input=f"{paper}\n", capture_output=True, text=True)
            it.check(f"without the service, the code on paper brings the {name} key back", done.returncode == 0 and "chartgate-master-key" in path.read_text(), done.stderr)

        token = Token(stage.directory / "token")
        pin = gateway.secret("pin", token.PIN)
        gateway.config.write_text(plain_config + toml({"keys": token.section(pin)}))
        code, text = console.ask("keys", "protect")
        it.check("`keys protect` seals all three by the token", code == 0 and text.count(f"is sealed by pkcs11 {token.LABEL}/{token.KEY}") == 3, (code, text))
        files_are_sealed(it, gateway, clear, "pkcs11")
        begins(it, gateway, "sealed by the token it starts")
        it.equal("and the whole trail is intact", console.ask("audit", "verify")[0], 0)
        opened = gateway.trail()
        it.check("and all of it opens, from the first record on", opened and opened[0]["seq"] == 1, len(opened))
        gateway.secret("pin", "0000-0000")
        refuses(it, gateway, "a wrong PIN: it does not start, and says so", "token")
        said = (stage.directory / "commands.log").read_text() + gateway.process.text()
        told = [what for what in (kms.secret, token.PIN, *clear.values()) if what in said]
        it.check("neither a secret, a PIN nor a key was said", not told, len(told))


def configure(gateway):
    issuer = {"name": "hospital", "url": f"https://localhost:{net.free_port()}", "client_id": "chartgate", "roles_claim": "/groups", "mfa": {"amr": [["mfa"]]}}
    emr = {"name": "emr", "hosts": [HOST], "profile": str(gateway.policies / "emr" / "opal.toml"), "backend": {"url": f"http://127.0.0.1:{net.free_port()}"}}
    backup = {"target": {"directory": str(gateway.directory / "backups")}, "key": str(gateway.directory / "keys" / "backup.key")}
    return gateway.configure(issuer, [emr], backup=backup)


def begins(it, gateway, what):
    gateway.start()
    it.check(what, gateway.process.alive(), gateway.process.text()[-800:])
    it.equal("and ends in good order", gateway.stop(), 0)


def refuses(it, gateway, what, says):
    done = subprocess.run([binary(), "serve", "--config", gateway.config], capture_output=True, text=True, timeout=60)
    text = done.stdout + done.stderr
    it.check(what, done.returncode not in (0, None) and says in text, (done.returncode, text[-800:]))


def files_are_sealed(it, gateway, clear, by):
    texts = {name: (gateway.directory / "keys" / f"{name}.key").read_text() for name in KEYS}
    it.check(f"each key file is sealed by {by}, and no key can be read in it",
             all(text.startswith(f"chartgate-sealed-key-v1\n{by} ") and clear[name] not in text for name, text in texts.items()), list(texts))


report.run("Key files that are sealed elsewhere", body)
