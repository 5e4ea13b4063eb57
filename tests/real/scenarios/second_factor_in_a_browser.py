"""The gateway's own second factor in a real browser, for somebody whose provider asks for a password only.

An operator's enrolment code, a passkey on a virtual authenticator, sign-in with it, an authenticator app, a code that is
sent twice, a recovery code without JavaScript, a copy of the passkey, a reset by the operator.
"""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, emr, process, provider, report, tls, trail  # noqa: E402
from kit.browser import watch  # noqa: E402
from kit.gateway import Gateway, REPOSITORY, binary  # noqa: E402

HOST = "pacs.clinic.test"
WHO = "clerk.kim"


def body(it):
    with process.Stage(cache.work("factor")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        origin = gateway.origin(HOST)
        orthanc = emr.Orthanc(stage).start()
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin]).start()
        settings = {"second_factor": {"issuers": ["hospital"], "rp_name": "Riverside Clinic", "max_failures": 6}}
        gateway.configure(issuer.issuer(), [orthanc.behind(HOST, REPOSITORY)], identity=settings)
        code, text = gateway.check()
        it.check("`check` finds nothing wrong", code == 0, text)
        gateway.start()

        made = factor(gateway, "invite", WHO, "--reason", "new at the front desk")
        invitation = made[0]["code"]
        seen, complaints = browse(stage, authority, origin, invitation)
        enrolment(it, seen)
        signing_in(it, seen)
        it.equal("no page's script or style is stopped by its policy", complaints, [])
        what_operators_see(it, gateway)
        reset(it, stage, authority, origin, gateway)
        what_the_trail_says(it, gateway.trail())
        secrets_stay_secret(it, gateway, invitation)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        code, text = gateway.verify()
        it.check("`audit verify` is green", code == 0, text)


def factor(gateway, *arguments):
    command = [binary(), "factor", *arguments, "--config", gateway.config, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"factor {arguments[0]} ended with {done.returncode}: {done.stderr[-800:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def browse(stage, authority, origin, invitation):
    settings = {"INVITATION": invitation} if invitation else {}
    name = "enrolling" if invitation else "after-reset"
    steps = watch(stage, authority, origin, "second_factor", name=name, **settings)
    # That a page answered 403 is what the scenario asks for.
    complaints = [seen for step, seen in steps if step == "console" and "status of 4" not in seen]
    return dict(steps), complaints


def at(seen, step):
    return seen.get(step) or {"path": None, "text": ""}


def enrolment(it, seen):
    page = "/.chartgate/second-factor"
    it.check("the browser came to its end", seen.get("end") is True, {k: seen[k] for k in ("failure", "failure at") if k in seen} or seen)
    asked = at(seen, "asked for the enrolment code")
    it.check("after the password the enrolment code is asked for", asked["path"] == page and "enrolment code" in asked["text"], asked)
    it.check("another code is refused, with its code", "CG-2022" in at(seen, "another code")["text"], at(seen, "another code"))
    it.check("the right one opens enrolment", "Create a passkey" in at(seen, "the code opens enrolment")["text"], at(seen, "the code opens enrolment"))
    it.equal("ten recovery codes are shown", seen.get("recovery codes"), 10)
    done = at(seen, "signed in by enrolling")
    it.check("who has enrolled is signed in", done["path"] == "/.chartgate/report" and WHO in done["text"], done)
    kept = seen.get("the authenticator keeps") or [{}]
    it.equal("the passkey belongs to the host", kept[0].get("rpId"), HOST)
    it.equal("its user handle is random, and no name", kept[0].get("handle"), 16)


def signing_in(it, seen):
    for step in ("signed in with the passkey", "signed in with the app", "signed in with a recovery code"):
        page = at(seen, step)
        it.check(step, page["path"] == "/.chartgate/report" and WHO in page["text"], page)
    fresh = at(seen, "the list asks for a fresh factor")
    it.check("one's own authenticators are shown after a fresh second factor only", "Confirm that it is you" in fresh["text"], fresh)
    it.check("the picture for the app is drawn", seen.get("the picture has a size") is True, seen.get("the picture has a size"))
    both = str(seen.get("the list has both"))
    it.check("the list has the passkey and the app", "Ward key" in both and "Phone" in both, both)
    it.check("a wrong code is refused without JavaScript", "CG-2022" in at(seen, "a wrong code")["text"], at(seen, "a wrong code"))
    it.check("a code that was used is refused", "CG-2022" in at(seen, "the same code again")["text"], at(seen, "the same code again"))
    copy = at(seen, "a copy of the passkey")
    it.check("a passkey that counts backwards is refused", "there may be a copy" in copy["text"], copy)


def what_operators_see(it, gateway):
    [account] = factor(gateway, "list", WHO)
    by = {one["method"]: one for one in account["authenticators"]}
    it.equal("`factor list` names both", {k: one["name"] for k, one in by.items()}, {"passkey": "Ward key", "totp": "Phone"})
    it.check("the passkey is suspended", by.get("passkey", {}).get("suspended"), account)
    it.equal("nine recovery codes are left", account["recovery_codes"], 9)
    done = subprocess.run([binary(), "factor", "invite", WHO, "--reason", "again", "--config", gateway.config], capture_output=True, text=True)
    it.check("who has enrolled is not invited again", done.returncode == 1 and "factor reset" in done.stderr, (done.returncode, done.stderr))


def reset(it, stage, authority, origin, gateway):
    [done] = factor(gateway, "reset", WHO, "--reason", "lost the phone, seen in person")
    it.check("a reset removes both and ends the sessions", done["authenticators"] == 2 and done["ended"] >= 1, done)
    seen, _ = browse(stage, authority, origin, None)
    after = at(seen, "asked after the reset")
    it.check("after it a new enrolment code is asked for", "enrolment code" in after["text"], after)


def what_the_trail_says(it, records):
    events = [trail.first(r, "event") for r in trail.select(records, phase="event")]
    expected = {
        "second_factor_invited", "second_factor_enrolled", "second_factor_used", "second_factor_failed",
        "second_factor_suspect", "second_factor_reset", "recovery_code_used", "session_revoked",
    }
    it.check("the trail has every step", expected <= set(events), sorted(set(events)))
    it.equal("and each sign-in", events.count("login"), 4)
    enrolled = [r for r in records if trail.first(r, "event") == "second_factor_enrolled"]
    it.check("who enrolled is named", len(enrolled) == 2 and all(WHO in json.dumps(r) for r in enrolled), enrolled)


def secrets_stay_secret(it, gateway, invitation):
    shown = json.dumps(gateway.trail()) + gateway.process.text()
    it.check("the enrolment code is neither on the trail nor in the log", invitation not in shown and invitation.replace("-", "") not in shown)
    it.check("nor is it in the store", invitation.encode() not in (gateway.directory / "store.redb").read_bytes())


report.run("The own second factor in a browser", body)
