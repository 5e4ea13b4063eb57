"""Reads exports as their receivers would. `validate.py FORMAT FILE` prints a JSON document: what was found, and what is wrong.

fhir: base R4 (fhir.resources), IHE BALP (balp/). ocsf: the schema of OCSF 1.8.0. atna: RFC 5424, XML 1.0, and the schema of
DICOM PS3.15 A.5.1, as checks. cef, csv: read back.
"""

import base64
import collections
import csv
import functools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent


def fhir(text):
    from fhir.resources.R4B.auditevent import AuditEvent

    found, wrong = collections.Counter(), []
    with tempfile.TemporaryDirectory() as directory:
        files = []
        for number, line in enumerate(text.splitlines()):
            event = json.loads(line)
            try:
                AuditEvent.model_validate(event)
            except ValueError as problem:
                wrong.append(f"{event.get('id')}: {problem}"[:400])
            for profile in event.get("meta", {}).get("profile", []):
                found[profile.rsplit("IHE.BasicAudit.", 1)[-1]] += 1
            found["events"] += 1
            file = pathlib.Path(directory) / f"{number}.json"
            file.write_text(line)
            files.append(file)
        checked = subprocess.run([sys.executable, HERE / "balp" / "balp_check.py", HERE / "balp", *files], capture_output=True, text=True)
        verdicts = checked.stdout.splitlines()
        wrong += [line for line in verdicts if line.startswith("BAD")] + checked.stderr.splitlines()[-3:]
        found["conforming"] = sum(line.startswith("OK ") for line in verdicts)
    return found, wrong


@functools.cache
def ocsf_class(uid, profiles):
    import jsonschema
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
    name = schema.lookup_class_name_from_uid(uid)
    return name, jsonschema.Draft202012Validator(schema.get_class_schema(name, list(profiles)))


def ocsf(text):
    found, wrong = collections.Counter(), []
    for line in text.splitlines():
        event = json.loads(line)
        name, validator = ocsf_class(event["class_uid"], tuple(event["metadata"].get("profiles", [])))
        found[name] += 1
        wrong += [f"{event['metadata']['uid']} {name} {'/'.join(map(str, error.path))}: {error.message}"[:400] for error in validator.iter_errors(event)]
    return found, wrong


HEADER = re.compile(r"<85>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) chartgate (?:-|\d+) IHE\+RFC-3881 - (<AuditMessage>.*)")
CODED = {"csd-code", "codeSystemName", "originalText"}
# Of each element: what it must have, what it may have, and the elements in it with least and most, in their order.
SCHEMA = {
    "AuditMessage": (set(), set(), [("EventIdentification", 1, 1), ("ActiveParticipant", 1, None), ("AuditSourceIdentification", 1, 1), ("ParticipantObjectIdentification", 0, None)]),
    "EventIdentification": ({"EventDateTime", "EventOutcomeIndicator"}, {"EventActionCode"}, [("EventID", 1, 1), ("EventTypeCode", 0, None), ("EventOutcomeDescription", 0, 1), ("PurposeOfUse", 0, None)]),
    "ActiveParticipant": ({"UserID", "UserIsRequestor"}, {"AlternativeUserID", "UserName", "NetworkAccessPointID", "NetworkAccessPointTypeCode"}, [("RoleIDCode", 0, None), ("MediaIdentifier", 0, 1)]),
    "AuditSourceIdentification": ({"AuditSourceID"}, {"AuditEnterpriseSiteID"}, [("AuditSourceTypeCode", 0, None)]),
    "AuditSourceTypeCode": ({"csd-code"}, CODED, []),
    "ParticipantObjectIdentification": (
        {"ParticipantObjectID"},
        {"ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole", "ParticipantObjectDataLifeCycle", "ParticipantObjectSensitivity"},
        [("ParticipantObjectIDTypeCode", 1, 1), ("ParticipantObjectName", 0, 1), ("ParticipantObjectQuery", 0, 1), ("ParticipantObjectDetail", 0, None)],
    ),
    "ParticipantObjectDetail": ({"type", "value"}, set(), []),
    **{name: (set(), set(), []) for name in ("EventOutcomeDescription", "ParticipantObjectName", "ParticipantObjectQuery")},
    **{name: (CODED, {"displayName"}, []) for name in ("EventID", "EventTypeCode", "PurposeOfUse", "RoleIDCode", "ParticipantObjectIDTypeCode")},
}
VALUES = {
    "EventActionCode": set("CRUDE"),
    "EventOutcomeIndicator": {"0", "4", "8", "12"},
    "UserIsRequestor": {"true", "false"},
    "NetworkAccessPointTypeCode": set("12345"),
    "ParticipantObjectTypeCode": set("1234"),
    "ParticipantObjectTypeCodeRole": {str(n) for n in range(1, 27)},
    "ParticipantObjectDataLifeCycle": {str(n) for n in range(1, 16)},
}


def element(one, wrong):
    required, allowed, inside = SCHEMA.get(one.tag, (set(), set(), []))
    if one.tag not in SCHEMA:
        wrong.append(f"<{one.tag}> is not known")
    names = set(one.attrib)
    wrong += [f"<{one.tag}> lacks {name}" for name in required - names]
    wrong += [f"<{one.tag}> has {name}" for name in names - required - allowed]
    wrong += [f"{name}={one.attrib[name]}" for name in names & set(VALUES) if one.attrib[name] not in VALUES[name]]
    order = [name for name, _, _ in inside]
    places = [order.index(child.tag) if child.tag in order else -1 for child in one]
    if -1 in places or places != sorted(places):
        wrong.append(f"<{one.tag}> holds {[child.tag for child in one]}")
    for name, least, most in inside:
        count = sum(child.tag == name for child in one)
        if count < least or (most is not None and count > most):
            wrong.append(f"<{one.tag}> holds {count} <{name}>")
    for child in one:
        element(child, wrong)


def message(text, wrong):
    """One AuditMessage; its event id and type."""
    root = xml.etree.ElementTree.fromstring(text)
    element(root, wrong)
    if sum(p.get("UserIsRequestor") == "true" for p in root.iter("ActiveParticipant")) > 1:
        wrong.append("two participants ask")
    for thing in root.iter("ParticipantObjectIdentification"):
        if (thing.find("ParticipantObjectName") is None) == (thing.find("ParticipantObjectQuery") is None):
            wrong.append("an object has a name or a query")
        for detail in thing.iter("ParticipantObjectDetail"):
            base64.b64decode(detail.get("value"), validate=True)
        if thing.find("ParticipantObjectQuery") is not None:
            base64.b64decode(thing.findtext("ParticipantObjectQuery"), validate=True)
    event = root.find("EventIdentification")
    return " ".join(code.get("csd-code") for code in [event.find("EventID"), *event.findall("EventTypeCode")])


def atna(text):
    found, wrong = collections.Counter(), []
    for line in text.split("\n")[:-1]:
        header = HEADER.fullmatch(line)
        if header is None:
            wrong.append(f"no header of ITI-20: {line[:200]}")
            continue
        try:
            found[message(header.group(3), wrong)] += 1
        except (ValueError, xml.etree.ElementTree.ParseError) as problem:
            wrong.append(f"{problem}: {line[:200]}")
    return found, wrong


def cef(text):
    found, wrong = collections.Counter(), []
    for line in text.split("\n")[:-1]:
        header = re.fullmatch(r"CEF:0\|" + r"((?:[^|\\]|\\[|\\])*)\|" * 6 + "(.*)", line)
        if header is None:
            wrong.append(f"no header of CEF: {line[:200]}")
            continue
        # A key begins the extension or follows a space, and its `=` is not escaped.
        marks = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)(?<!\\)=", header.group(7)))
        ends = [mark.start() for mark in marks[1:]] + [len(header.group(7))]
        pairs = {mark.group(1): header.group(7)[mark.end():end] for mark, end in zip(marks, ends)}
        wrong += [f"{key}: {value}" for key, value in pairs.items() if re.search(r"(?<!\\)(?:\\\\)*\\(?![\\=nr])", value)]
        wrong += [f"{key} has no label" for key in pairs if re.fullmatch(r"c[sn]\d|flexString\d|c6a\d", key) and key + "Label" not in pairs]
        if not 0 <= int(header.group(6)) <= 10 or not pairs.get("rt", "").isdigit():
            wrong.append(line[:200])
        found[header.group(4)] += 1
    return found, wrong


def rows(text):
    found, wrong = collections.Counter(), []
    heading, *rest = csv.reader(text.splitlines(keepends=True))
    for row in rest:
        if len(row) != len(heading):
            wrong.append(f"{len(row)} fields of {len(heading)}: {row[:4]}")
        wrong += [f"a formula: {field}" for field in row if field[:1] in ("=", "+", "-", "@")]
        found[dict(zip(heading, row)).get("kind", "?")] += 1
    return found, wrong


FORMATS = {"fhir": fhir, "ocsf": ocsf, "atna": atna, "cef": cef, "csv": rows}

if __name__ == "__main__":
    found, wrong = FORMATS[sys.argv[1]](pathlib.Path(sys.argv[2]).read_bytes().decode())
    print(json.dumps({"found": found, "wrong": wrong[:20]}))
