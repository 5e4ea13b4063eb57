"""An emergency and what follows it, with Opal, a browser, a webhook, a mail server and somebody who reviews.

The privacy officer closes a chart by policy; a physician breaks the glass in Chromium, reads, and does the course about
it; another person reviews; in the end the machine's disk is lost and everything comes back from the backup.
"""

import json
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, emr, manual, net, process, provider, report, tls, trail  # noqa: E402
from kit.browser import browse  # noqa: E402
from kit.clinician import Clinician  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402
from kit.mail import MailServer  # noqa: E402
from kit.webhook import Webhook  # noqa: E402

HOST = "opal.clinic.test"
CLOSED, OTHER, OPEN = "7", "8", "3"
WORDS = "Found unresponsive on ward 4; need medication and allergies."


def body(it):
    with process.Stage(cache.work("emergencies")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        policies = stage.directory / "policies"
        shutil.copytree(REPOSITORY / "policies", policies)
        gateway = Gateway(stage, authority, policies=policies)
        origin = gateway.origin(HOST)
        opal = emr.Opal(stage, cache.CACHE, HOST).start()
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin]).start()
        webhook = Webhook(authority)
        mail = MailServer(stage, cache.CACHE, "on-call", "starttls", authority).start()
        # First the physician has the operator's account too: nobody reviews themselves.
        configure(gateway, opal, issuer, webhook, mail, authority, "dr.adams")
        gateway.start()
        console = Console(gateway.config, stage.directory / "commands.log")
        doctor = Clinician(authority, origin, issuer.url)
        it.equal("the physician signs in", doctor.open_opal(doctor.sign_in()).status_code, 302)

        alarms_get_there(it, console, webhook, mail)
        a_chart_is_closed(it, console, doctor, policies)
        a_broken_bundle_changes_nothing(it, console, gateway, doctor, webhook, policies)
        seen = browse(stage, authority, origin, "emergency", PATIENT=CLOSED, OTHER=OTHER, ANSWERS=json.dumps(answers(policies)))
        the_glass_is_broken(it, seen)
        the_course_is_taken(it, console, seen)
        grant = nobody_reviews_themselves(it, console)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        configure(gateway, opal, issuer, webhook, mail, authority, "privacy.officer")
        gateway.start()
        somebody_else_reviews(it, console, grant)
        everyone_was_told(it, webhook, mail)
        what_is_on_record(it, gateway, grant)
        lost_and_restored(it, console, stage, gateway, doctor, grant)
        code, text = gateway.verify()
        it.check("`audit verify` is green in the end", code == 0, text)
        log = gateway.process.text()
        secrets = [s for s in ("Legacy-pass-1", "Correct-horse-1", Webhook.SECRET, MailServer.PASSWORD, WORDS, "MRN00000") if s in log]
        it.check("neither secrets nor patient data are in the gateway's log", not secrets, secrets)


def configure(gateway, opal, issuer, webhook, mail, authority, operator):
    entry = {
        "name": "opal",
        "hosts": [HOST],
        "profile": str(gateway.policies / "emr" / "opal.toml"),
        "error_pages": "hide",
        "backend": {"url": opal.url, "protocol": "http1", "host": "public"},
    }
    receivers = {
        "webhook": [webhook.receiver(gateway.secret("webhook-secret", Webhook.SECRET), authority.ca)],
        "smtp": [mail.receiver(gateway.secret("mail-password", MailServer.PASSWORD), authority.ca)],
    }
    target = {"directory": str(gateway.directory.parent / "backups")}
    gateway.configure(
        issuer.issuer(),
        [entry],
        # Only `policy activate` puts a bundle in force.
        policy={"watch_interval": "0s"},
        notify=receivers,
        backup={"target": target, "key": str(gateway.directory / "keys" / "backup.key")},
    )
    table = gateway.config.read_text()
    gateway.config.write_text(re.sub(r'^("?\d+"?) = "auditor"$', rf'\1 = "{operator}"', table, flags=re.M))


def alarms_get_there(it, console, webhook, mail):
    it.equal("`notify test` reaches both", (lambda code, text: (code, sorted(text.split())))(*console.ask("notify", "test")), (0, ["ok", "ok", "on-call", "security-team"]))
    it.equal("the webhook's signature holds, by the manual's own function", (len(webhook.await_rule("chartgate.notify.test")), webhook.forged), (1, []))
    it.equal("the mail arrived", len(mail.await_about("chartgate.notify.test")), 1)


def a_chart_is_closed(it, console, doctor, policies):
    it.equal("until now anyone who treats patients opens the chart", doctor.get(f"/api/v0.1/patient/{CLOSED}/").status_code, 200)
    # The README of the policies gives this one to copy.
    given = re.search(r"^```cedar\n(@id\(\"well-known-patient\"\).*?)^```$", (policies / "README.md").read_text(), re.S | re.M).group(1)
    closed = given.replace("urn:hospital:mrn|100234", f"urn:opal:patient|{CLOSED}")
    (policies / "wellknown.cedar").write_text(closed + closed.replace("well-known-patient", "well-known-too").replace(f"|{CLOSED}\"", f"|{OTHER}\""))
    (policies / "tests" / "wellknown.toml").write_text(table())
    bundle = policies / "bundle.toml"
    bundle.write_text(bundle.read_text().replace('version = "1.0.0"', 'version = "1.1.0"'))
    code, text = console.run("policy", "test", "--policies", policies)
    it.check("the changed bundle does what it is meant to, by `policy test`", code == 0 and ", 0 failed" in text, text)
    it.equal("nothing has changed yet", doctor.get(f"/api/v0.1/patient/{CLOSED}/").status_code, 200)
    code, text = console.ask("policy", "activate")
    it.check("`policy activate` puts it in force", code == 0 and "1.1.0 is in force: generation" in text, (code, text))
    refused = doctor.get(f"/api/v0.1/patient/{CLOSED}/")
    it.check("the chart is closed, for the session that is open too", refused.status_code == 403 and "CG-3006" in refused.text and refused.json().get("break_glass") is True, (refused.status_code, refused.text[:400]))
    it.equal("others are not", doctor.get(f"/api/v0.1/patient/{OPEN}/").status_code, 200)
    code, text = console.ask("policy", "activate")
    it.check("a second time nothing changes", code == 0 and "was in force already" in text, text)


def table():
    """What is expected of the policy that closes a chart: read by breaking the glass, written by nobody."""
    case = '[[case]]\nname = "{}"\nroles = ["physician"]\npatient = "urn:opal:patient|' + CLOSED + '"\nbreak_glass = {}\naction = "{}"\nsection = "summary"\nexpect = "{}"\n\n'
    rows = [("closed", "false", "Read", "deny"), ("open by breaking the glass", "true", "Read", "allow"), ("for reading only", "true", "Update", "deny")]
    return "".join(case.format(*row) for row in rows)


def a_broken_bundle_changes_nothing(it, console, gateway, doctor, webhook, policies):
    bad = policies / "mistake.cedar"
    bad.write_text('@id("mistake")\n@doc("A role that nobody has.")\npermit (principal in Role::"physican", action, resource);\n')
    code, text = console.ask("policy", "activate")
    it.check("a bundle with a mistake is refused by name", code != 0 and "not put in force" in text and "physican" in text, (code, text))
    bad.write_text('@id("mistake")\n@doc("Opens what the tables say is closed.")\nforbid (principal in Role::"physician", action, resource);\n')
    code, text = console.ask("policy", "activate")
    it.check("so is one that misses its own tables", code != 0 and "not put in force" in text, (code, text))
    it.equal("what was in force is in force", (doctor.get(f"/api/v0.1/patient/{CLOSED}/").status_code, doctor.get(f"/api/v0.1/patient/{OPEN}/").status_code), (403, 200))
    it.check("that alarms", len(webhook.await_rule("policy-rejected")) >= 1, webhook.alarms)
    it.equal("the metrics count both", gateway.metrics("chartgate_policy_reloads_total").get('result="rejected"'), 2)
    code, text = console.ask("status")
    it.check("`status` calls for a look", any(line.startswith("LOOK  policy-bundle") and "NOT put in force" in line for line in text.splitlines()), text)
    bad.unlink()
    code, text = console.ask("policy", "activate")
    it.check("with the mistake gone, all is well", code == 0, text)


def answers(policies):
    """One right and one wrong answer to each question of the course about breaking the glass."""
    questions = (policies / "training" / "break-glass.md").read_text().split("\n### ")[1:]
    marked = [re.findall(r"^- \[([ x])\] (.*)$", question, re.M) for question in questions]
    return [{"right": next(t for m, t in q if m == "x"), "wrong": next(t for m, t in q if m == " ")} for q in marked]


def the_glass_is_broken(it, seen):
    it.check("the browser came to its end", seen.get("end") is True, {k: seen[k] for k in ("failure", "failure at") if k in seen} or seen)
    closed = seen.get("chart closed", {})
    it.check("the closed chart's page says so, and what can be done", closed.get("status") == 403 and "CG-3006" in closed["text"] and "Break the glass" in closed["text"], closed)
    form = str(seen.get("form"))
    it.check("the form says whose chart, why it is closed, and what follows", f"Break the glass for patient {CLOSED}" in form and "4 hours" in form and "privacy officer" in form and "treating physician" in form, form)
    it.equal("without a reason it is not sent", seen.get("form without a reason"), {"path": "/.chartgate/break-glass", "invalid": True})
    opened = seen.get("chart open", {})
    it.check("with one the page asked for opens", opened.get("status") == 200 and opened["url"].endswith(f"/api/v0.1/patient/{CLOSED}/") and "MRN000007" in opened["text"], opened)
    it.equal("Opal's own pages read the chart", seen.get("read by the page"), 200)
    it.check("and show it", "MRN000007" in str(seen.get("opal shows")), seen.get("opal shows"))
    write = seen.get("write", {})
    it.check("it is not written", write.get("status") == 403 and "CG-3001" in str(write.get("body")), write)
    page = seen.get("page of the chart", {})
    it.check("its page carries the notice, for screen readers too", page.get("status") == 200 and f"reading patient {CLOSED}'s chart until" in str(page.get("banner")), page)
    it.equal("another closed chart stays closed", seen.get("another closed chart"), 403)


def the_course_is_taken(it, console, seen):
    it.check("the physician sees the courses", "Breaking the glass" in str(seen.get("courses")), seen.get("courses"))
    it.check("wrong answers are told, and not taken", "Not right:" in str(seen.get("wrong answers")), seen.get("wrong answers"))
    it.check("right ones are", "Breaking the glass" in str(seen.get("right answers")) and "Not right" not in str(seen.get("right answers")), seen.get("right answers"))
    code, text = console.ask("training", "status", "--user", "dr.adams")
    lines = [line for line in text.splitlines() if "break-glass" in line]
    it.check("`training status --user` says so", code == 0 and lines and lines[0].startswith("current") and "done" in lines[0] and "100 of 100" in lines[0], text)
    code, text = console.ask("training", "status")
    it.check("`training status` counts it", code == 0 and re.search(r"^break-glass \(.*\): 1 current", text, re.M), text)


def nobody_reviews_themselves(it, console):
    code, text = console.ask("breakglass", "list", "--unreviewed")
    it.check("`breakglass list --unreviewed` has it", code == 0 and len(text.splitlines()) == 1 and f"patient {CLOSED}" in text and "OVRER" in text, text)
    grant = text.split()[0]
    code, text = console.ask("breakglass", "review", grant, "--outcome", "appropriate", "--note", "Mine.")
    it.check("nobody reviews what they did themselves", code != 0 and "dr.adams" in text, (code, text))
    return grant


def somebody_else_reviews(it, console, grant):
    code, text = console.ask("breakglass", "show", grant)
    opened = text.split("Opened under it:")[-1].strip().splitlines()
    it.check("after a restart `breakglass show` still has who, why and in which words", code == 0 and "dr.adams" in text and WORDS in text and "well-known-patient" in text, text)
    it.check("and every access, the refused write too", len(opened) >= 3 and any("let through" in line for line in opened), text)
    code, text = console.ask("breakglass", "review", grant, "--outcome", "appropriate", "--note", "Too early.")
    it.check("an open grant is not reviewed", code != 0 and f"breakglass end {grant}" in text, (code, text))
    code, text = console.ask("breakglass", "end", grant)
    it.check("`breakglass end` closes it", code == 0 and "ended by privacy.officer" in console.ask("breakglass", "list")[1], text)
    code, text = console.ask("breakglass", "review", grant, "--outcome", "appropriate", "--note", "On call, patient unconscious.")
    it.check("another operator reviews it", code == 0, (code, text))
    it.equal("nothing is left to review", console.ask("breakglass", "list", "--unreviewed"), (0, "no glass like that was broken\n"))
    code, text = console.ask("breakglass", "list")
    it.check("`breakglass list` has the outcome", "appropriate by privacy.officer" in text, text)


def everyone_was_told(it, webhook, mail):
    [alarm] = webhook.await_rule("break-glass")
    it.check("the broken glass alarmed at once, with who and not whom", alarm["level"] == "high" and alarm.get("user") == "dr.adams" and "patient" not in json.dumps(alarm), alarm)
    it.check("by mail too, to one who is not to know whom: neither name nor patient nor words are in it", all(word not in m["subject"] + m.get_content() for m in mail.await_about("rule     break-glass") for word in ("dr.adams", f"patient {CLOSED}", WORDS)), [m.as_string() for m in mail.mails()])
    it.equal("every signature held", webhook.forged, [])


def what_is_on_record(it, gateway, grant):
    records = gateway.trail()
    broken = trail.select(records, event="break_glass")
    it.check("the trail has the broken glass, with reason, words and patient", len(broken) == 1 and trail.first(broken[0], "reason") == "OVRER" and trail.first(broken[0], "text") == WORDS and trail.patients(broken) == {CLOSED}, broken)
    under = [r for r in trail.select(records, phase="admit") if grant in list(trail.values(r, "grant"))]
    it.check("each access under it names the grant", len(under) >= 3 and trail.patients(under) == {CLOSED}, trail.brief(under))
    events = [trail.first(r, "event") for r in records]
    wanted = {"break_glass": 1, "break_glass_ended": 1, "break_glass_reviewed": 1, "training_failed": 1, "training_attested": 1, "policy_rejected": 2}
    counted = {event: events.count(event) for event in wanted}
    it.equal("and what followed, once each", counted, wanted)
    by = {trail.first(r, "operator") for r in trail.select(records, event="break_glass_reviewed")}
    it.equal("under the reviewer's name", by, {"privacy.officer"})
    active = [r for r in trail.select(records, event="policy_activated") if trail.first(r, "version") == "1.1.0" and trail.first(r, "operator")]
    it.check("and who put the bundle in force", active and trail.first(active[0], "operator") == "dr.adams", trail.select(records, event="policy_activated"))


def lost_and_restored(it, console, stage, gateway, doctor, grant):
    it.equal("before the backup the physician works", doctor.get(f"/api/v0.1/patient/{OPEN}/").status_code, 200)
    code, text = console.ask("backup", "run")
    it.check("`backup run`", code == 0, text)
    it.equal("after it, too", doctor.get(f"/api/v0.1/patient/{OPEN}/").status_code, 200)
    it.check("the gateway ends", gateway.stop() == 0, gateway.process.text()[-800:])
    for lost in ("audit", "store.redb"):
        path = gateway.directory / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    restored = stage.directory / "restored"
    code, text = console.ask("backup", "restore", "--to", restored)
    it.check("with trail and store lost, `backup restore` brings them back", code == 0 and "docs/backup.md says what to move where" in text, (code, text))
    it.check("the manual's way", "store.redb.restored" in (REPOSITORY / "docs" / "backup.md").read_text(), manual.blocks("backup", "sh"))
    shutil.move(restored / "trail", gateway.directory / "audit")
    for name in ("store.redb", "store.redb.restored"):
        shutil.move(restored / name, gateway.directory / name)
    try:
        gateway.start()
        refused = ""
    except RuntimeError as ended:
        refused = str(ended)
    it.check("the witness knows of records that are gone: it does not start", "--accept-truncated-trail" in refused, refused)
    gateway.start(arguments=["--accept-truncated-trail"])
    it.equal("told so, it starts; everybody signs in again", doctor.get(f"/api/v0.1/patient/{OPEN}/").status_code, 401)
    it.equal("and works", (doctor.open_opal(doctor.sign_in()).status_code, doctor.get(f"/api/v0.1/patient/{OPEN}/").status_code), (302, 200))
    it.equal("the closed chart is closed", doctor.get(f"/api/v0.1/patient/{CLOSED}/").status_code, 403)
    code, text = console.ask("breakglass", "list")
    it.check("the reviewed grant is there", grant in text and "appropriate by privacy.officer" in text, text)
    code, text = console.ask("training", "status", "--user", "dr.adams")
    it.check("so is the course that was done", re.search(r"^current .*break-glass: .*done", text, re.M), text)
    records = gateway.trail()
    it.check("`restored` is on record, and the loss", len(trail.select(records, event="restored")) == 1 and any(trail.first(r, "loss_accepted") for r in trail.select(records, event="recovered")), trail.brief(records[-20:]))
    it.check("the gateway ends in good order again", gateway.stop() == 0, gateway.process.text()[-800:])


report.run("Emergencies with Opal, signed in at oidc-provider", body)
