"""Exports of a day at the sample clinic, in which every action and most events occur, read by what others read them with:
base R4 and IHE BALP, the schema of OCSF, the rules of DICOM's audit messages, CEF and CSV.
"""

import hashlib
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, report, trail  # noqa: E402
from kit.clinic import facts_of, records_of  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import binary  # noqa: E402
from kit.staff import Staff  # noqa: E402

PARTS = pathlib.Path(__file__).resolve().parents[1] / "parts"
# What the sample clinic has a page for.
ACTIONS = {"Search", "Read", "Create", "Update", "Delete", "Print", "Export", "Order", "Sign", "Administer", "Navigate", "Unmapped", "Disclose"}
PROFILES = {"PatientRead", "Query", "PatientCreate", "PatientUpdate", "PatientDelete", "PatientQuery", "PrivacyDisclosure.Source"}
CLASSES = {"http_activity", "authentication", "api_activity", "application_lifecycle"}
MESSAGES = {"110110 read", "110112 search", "110110 create", "110110 update", "110110 delete", "110113 110132", "110114 110122", "110114 110123", "110100 110120", "110101", "110106 disclose"}


# Nobody deletes at the sample clinic.
DELETES = """
@id("him-deletes")
@doc("Health information management removes what was registered by mistake.")
permit (principal in Role::"him", action == Action::"Delete", resource == Section::"demographics");
"""


def permit_deleting(facts):
    directory = pathlib.Path(facts["config"]).parent / "policies"
    table = directory / "tests" / "office.toml"
    expected = 'demographics = ["Search", "Read", "Update", "Print",'
    table.write_text(table.read_text().replace(expected, expected.replace('"Print",', '"Delete", "Print",')))
    (directory / "deletes.cedar").write_text(DELETES)
    net.await_true("the policy", lambda: len(trail.select(records_of(facts), event="policy_activated")) > 1, 60, 0.5)


def a_day(facts, console):
    doctor = Staff(facts, "dr.okafor")
    doctor.get("/patients/search?q=a")
    doctor.get("/patients/select?set_pid=4")
    doctor.get("/chart/results")
    doctor.get("/patients/search?q=%22%3C%26%7C%3D%5C%C3%BC")
    doctor.post("/chart/notes", text="Feels better today.")
    doctor.post("/chart/orders", what="CBC")
    doctor.post("/chart/orders/1/sign")
    doctor.get("/chart/print")
    doctor.get("/some/new/page.php?a=b|c=d")
    desk = Staff(facts, "desk.moreau")
    desk.get("/patients/select?set_pid=5")
    desk.post("/chart/demographics", phone="555-0100")
    records = Staff(facts, "him.doyle")
    records.get("/patients/4/export.csv")
    records.post("/patients/7/delete")
    records.get("/patients/select?set_pid=4")
    records.post("/chart/send", recipient="County Court", address="1 Main Street", what="discharge | letter", purpose="HLEGAL")
    Staff(facts, "admin.kovacs").get("/admin/users")
    billing = Staff(facts, "billing.shah")
    billing.get("/patients/select?set_pid=4")
    billing.get("/chart/notes")
    doctor.post("/.chartgate/logout")
    console.ask("audit", "query", "--patient", "4")
    console.ask("lockdown", "set", "L1", "--reason", "a | b = c \\ d")
    console.ask("lockdown", "lift", "--reason", "over")
    console.ask("policy", "check")


def exported(it, stage, facts, console, form):
    file = stage.directory / f"day.{form}"
    code, text = console.ask("audit", "export", "--format", form, "--output", str(file))
    it.check(f"{form}: exported", code == 0, text)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    it.check(f"{form}: the sum beside it is right", (stage.directory / f"day.{form}.sha256").read_text().startswith(digest), digest)
    done = subprocess.run([cache.CACHE / "exports" / "bin" / "python", PARTS / "validate.py", form, file], capture_output=True, text=True)
    if done.returncode != 0:
        it.check(f"{form}: can be read", False, done.stderr[-800:])
        return {}
    said = json.loads(done.stdout)
    it.equal(f"{form}: nothing is wrong with it", said["wrong"], [])
    return said["found"]


def body(it):
    with process.Stage(cache.work("exports")) as stage:
        clinic = stage.start("clinic", [binary(), "demo", "--port", "0", "--json", "--data-dir", stage.directory / "clinic"])
        net.await_true("the sample clinic", lambda: facts_of(clinic) is not None, 60, 0.1)
        facts = facts_of(clinic)
        console = Console(facts["config"], stage.directory / "commands.log")
        permit_deleting(facts)
        a_day(facts, console)
        actions = {record["entry"]["facts"]["mapping"]["action"] for record in records_of(facts) if (record["entry"].get("facts") or {}).get("mapping")}
        it.equal("every action that the clinic has occurred", ACTIONS - actions, set())

        found = exported(it, stage, facts, console, "fhir")
        it.equal("fhir: every profile that fits is claimed", PROFILES - set(found), set())
        it.equal("fhir: and each claim is right", found.get("conforming"), sum(n for name, n in found.items() if name not in ("events", "conforming")))
        it.check("fhir: what failed claims none", found.get("events", 0) > found.get("conforming", 0) > 10, found)
        found = exported(it, stage, facts, console, "ocsf")
        it.equal("ocsf: every class occurs", CLASSES - set(found), set())
        found = exported(it, stage, facts, console, "atna")
        it.equal("atna: every kind of message occurs", MESSAGES - set(found), set())
        found = exported(it, stage, facts, console, "cef")
        it.check("cef: refusals and sign-ins are classes of their own", {"CG-3001", "login", "request.read"} <= set(found), found)
        found = exported(it, stage, facts, console, "csv")
        it.equal("csv: requests, refusals and events", set(found), {"request", "refusal", "event"})
        it.check("the clinic ends in good order", clinic.stop() == 0, clinic.text()[-800:])


report.run("Exports read by others", body)
