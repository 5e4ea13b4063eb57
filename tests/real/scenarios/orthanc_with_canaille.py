"""Orthanc behind the gateway, which signs in to it with a service account; people sign in at Canaille.

Canaille states `amr` only and an `auth_time` with a fraction. Orthanc knows HTTP Basic only, answers in multipart,
and closes idle connections after a second. No 401 of Orthanc may ever reach a browser.
"""

import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import requests  # noqa: E402

from kit import browser, cache, emr, login, net, process, provider, report, tls, trail  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST = "pacs.clinic.test"
LOCKED_HOST = "opal.clinic.test"  # the same Orthanc with a service password that is wrong


def body(it):
    with process.Stage(cache.work("orthanc")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        origin = gateway.origin(HOST)
        orthanc = emr.Orthanc(stage).start()
        images = {name: emr.sample(name) for name in ("CT_small.dcm", "MR_small.dcm")}
        stored = orthanc.upload(images["CT_small.dcm"])
        physician, technician = login.Person("dr.adams", "Correct-horse-1"), login.Person("rad.tech", "Correct-horse-2")
        canaille = provider.Canaille(
            stage, cache.CACHE, authority, [origin, gateway.origin(LOCKED_HOST)], [(physician, "emr-physicians"), (technician, "emr-radtech")]
        ).start()
        gateway.configure(canaille.issuer(), [entry("pacs", HOST, orthanc, orthanc.ACCOUNT[1]), entry("locked", LOCKED_HOST, orthanc, "wrong")])
        code, text = gateway.check()
        it.check("`check` finds nothing wrong", code == 0, text)
        gateway.start()

        anonymous(it, authority, origin)
        doctor = signed_in(it, authority, canaille, origin, physician)
        browser.signs_in(it, stage, authority, origin, physician, "/system", canaille.url)
        search(it, doctor, origin)
        retrieve(it, doctor, origin, orthanc, stored)
        survives_idle(it, doctor, origin)
        uploads(it, authority, canaille, origin, orthanc, doctor, technician, images)
        wrong_service_account(it, authority, canaille, gateway, physician)
        one_factor(it, authority, canaille, origin, technician)

        what_the_trail_says(it, gateway.trail(), doctor.study, stored["ParentPatient"])
        code, text = gateway.verify()
        it.check("`audit verify` is green", code == 0, text)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        log = gateway.process.text()
        it.check("the service password is not in the gateway's log", "legacy-pass" not in log)


def entry(name, host, orthanc, password):
    return {
        "name": name,
        "hosts": [host],
        "profile": str(REPOSITORY / "policies" / "emr" / "orthanc.toml"),
        "error_pages": "hide",
        "backend": {"url": orthanc.url, "protocol": "http1", "host": "public", "idle_timeout": "500ms"},
        "identity": {"basic": {"username": orthanc.ACCOUNT[0], "password": password}},
    }


def no_popup(it, what, answers):
    """A browser asks for a password when a 401 names a scheme that it knows; nobody must ever see Orthanc's pop-up."""
    schemes = re.compile(r"\b(basic|digest|ntlm|negotiate|bearer)\b", re.I)
    asked = [(a.request.method, a.url, a.status_code) for a in answers if schemes.search(a.headers.get("WWW-Authenticate", ""))]
    it.check(f"no browser password pop-up: {what}", not asked, asked)


def anonymous(it, authority, origin):
    session = net.browser(authority.ca)
    by_fetch = session.get(f"{origin}/dicom-web/studies", headers=net.FETCH, allow_redirects=False)
    it.equal("an anonymous fetch is refused", by_fetch.status_code, 401)
    it.check("as a problem document with its code", "application/problem+json" in by_fetch.headers.get("Content-Type", "") and "CG-2001" in by_fetch.text, by_fetch.text[:300])
    spoofed = session.get(f"{origin}/system", headers=net.FETCH, auth=("legacy", "legacy-pass"), allow_redirects=False)
    it.equal("the service account itself opens nothing from outside", spoofed.status_code, 401)
    no_popup(it, "without a session", [by_fetch, spoofed])


def signed_in(it, authority, canaille, origin, person):
    session = net.browser(authority.ca)
    wanted = f"{origin}/dicom-web/studies?PatientName=*&limit=5"
    page = login.sign_in(session, wanted, person, canaille.url)
    it.check(f"{person.name} signs in with password and TOTP and lands on the page asked for", page.url == wanted and page.status_code == 200, (page.url, page.status_code, page.text[:300]))
    no_popup(it, f"signing in as {person.name}", [page])
    return session


def search(it, doctor, origin):
    found = doctor.get(f"{origin}/dicom-web/studies?PatientID=1CT1", headers={**net.FETCH, "Accept": "application/dicom+json"})
    it.equal("QIDO-RS search", (found.status_code, found.headers.get("Content-Type", "").split(";")[0]), (200, "application/dicom+json"))
    studies = found.json() if found.ok else []
    it.equal("finds the study", [s["00100020"]["Value"] for s in studies], [["1CT1"]])
    doctor.study = studies[0]["0020000D"]["Value"][0] if studies else "missing"
    no_popup(it, "searching", [found])


def retrieve(it, doctor, origin, orthanc, stored):
    path = f"/dicom-web/studies/{doctor.study}"
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    through = doctor.get(origin + path, headers={**net.FETCH, "Accept": accept})
    direct = orthanc.direct().get(orthanc.url + path, headers={"Accept": accept})
    it.check("WADO-RS retrieves the study", through.status_code == 200 and through.headers.get("Content-Type", "").startswith("multipart/related"), (through.status_code, through.headers, through.text[:300]))
    # The two answers differ in nothing but the separator that Orthanc draws for each.
    same = parts(through) == parts(direct) and len(through.content) == len(direct.content)
    it.check("byte for byte what Orthanc sends", same and len(through.content) > 30_000, (len(through.content), len(direct.content)))
    chart = f"/patients/{stored['ParentPatient']}/shared-tags?simplify"
    tags = doctor.get(origin + chart, headers=net.FETCH)
    it.check("a patient's record is read", tags.status_code == 200 and tags.json().get("PatientID") == "1CT1", (tags.status_code, tags.text[:300]))
    preview = f"/instances/{stored['ID']}/preview"
    picture = {"Accept": "image/png"}
    image, same_image = doctor.get(origin + preview, headers={**net.FETCH, **picture}), orthanc.direct().get(orthanc.url + preview, headers=picture)
    it.check("a picture comes through unchanged", image.status_code == 200 and image.content == same_image.content, (image.status_code, image.text[:200] if image.status_code != 200 else len(image.content)))
    no_popup(it, "retrieving", [through, image])


def parts(answer):
    boundary = re.search(r'boundary="?([^";]+)', answer.headers.get("Content-Type", ""))
    return answer.content.split(b"--" + boundary.group(1).encode()) if boundary else None


def survives_idle(it, doctor, origin):
    """Orthanc ends a connection after one idle second: requests are sent before, around and after that moment."""
    codes = []
    for pause in (0.2, 0.9, 0.96, 0.99, 1.0, 1.01, 1.04, 1.1, 1.5, 2.5):
        time.sleep(pause)
        codes.append(doctor.get(f"{origin}/dicom-web/studies?PatientID=1CT1", headers=net.FETCH).status_code)
    it.check("no request meets a connection that Orthanc has closed", codes == [200] * len(codes), codes)
    codes = []
    for pause in (0.2, 1.5, 2.5):
        time.sleep(pause)
        found = doctor.post(f"{origin}/tools/find", json={"Level": "Study", "Query": {"PatientID": "1CT1"}}, headers={**net.FETCH, "Origin": origin})
        codes.append(found.status_code)
    it.check("nor does a request that may not be sent twice", codes == [200] * len(codes), codes)


def uploads(it, authority, canaille, origin, orthanc, doctor, technician, images):
    content, kind = images["MR_small.dcm"].read_bytes(), {"Content-Type": "application/dicom", "Origin": origin}
    count = lambda: len(orthanc.direct().get(f"{orthanc.url}/instances").json())  # noqa: E731
    before = count()
    refused = doctor.post(f"{origin}/instances", data=content, headers={**net.FETCH, **kind})
    it.check("a physician may not upload images", refused.status_code == 403 and "CG-3001" in refused.text, (refused.status_code, refused.text[:300]))
    it.equal("and nothing reached Orthanc", count(), before)
    time.sleep(1.1)  # Canaille cannot issue two tokens within one second
    session = signed_in(it, authority, canaille, origin, technician)
    foreign = session.post(f"{origin}/instances", data=content, headers={**kind, "Origin": "https://elsewhere.test", "Sec-Fetch-Site": "cross-site"})
    it.check("an upload from another site is refused", foreign.status_code == 403 and "CG-1012" in foreign.text, (foreign.status_code, foreign.text[:300]))
    it.equal("and nothing reached Orthanc then either", count(), before)
    allowed = session.post(f"{origin}/instances", data=content, headers={**net.FETCH, **kind})
    it.check("a radiology technician uploads", allowed.status_code == 200 and allowed.json().get("Status") == "Success", (allowed.status_code, allowed.text[:300]))
    it.equal("and Orthanc has one image more", count(), before + 1)
    if allowed.ok:
        kept = orthanc.direct().get(f"{orthanc.url}/instances/{allowed.json()['ID']}/file").content
        it.check("byte for byte what was sent", kept == content, (len(kept), len(content)))
    no_popup(it, "uploading", [refused, foreign, allowed])


def wrong_service_account(it, authority, canaille, gateway, physician):
    session = net.browser(authority.ca)
    time.sleep(1.1)
    page = login.sign_in(session, f"{gateway.origin(LOCKED_HOST)}/dicom-web/studies", physician, canaille.url)
    it.check("Orthanc refuses the wrong service account", page.status_code >= 400 and "/dicom-web/studies" in page.url, (page.status_code, page.url))
    no_popup(it, "with a service account that Orthanc refuses", [page])


def one_factor(it, authority, canaille, origin, person):
    canaille.start(factors=("password",))  # the provider forgets to ask for the second factor
    session = net.browser(authority.ca)
    page = login.sign_in(session, f"{origin}/dicom-web/studies", person, canaille.url)
    it.check("one factor is refused, with its code", page.status_code == 403 and "CG-2003" in page.text, (page.status_code, page.url, page.text[:300]))
    later = session.get(f"{origin}/dicom-web/studies", headers=net.FETCH)
    it.equal("and opens nothing later", later.status_code, 401)


def what_the_trail_says(it, records, study, patient):
    acts = trail.select(records, phase="admit")
    by = {"subject": "dr.adams", "emr": "pacs"}
    searched = [r for r in trail.select(acts, action="Search", **by) if trail.first(r, "path") == "/dicom-web/studies"]
    it.check("the trail has dr.adams searching", bool(searched), trail.brief(acts))
    asked = {trail.first(r, "fields").get("PatientID") for r in searched if trail.first(r, "fields")}
    ended = {trail.first(r, "of"): r["entry"]["outcome"] for r in trail.select(records, phase="outcome")}
    found = {p["id"] for r in searched for p in ended.get(r["entry"]["id"], {}).get("appeared", [])}
    it.check("and who was found, by DICOM's patient id", "1CT1" in found, found)
    it.check("and for which patient id", "1CT1" in asked, [trail.first(r, "mapping") for r in searched])
    read = [r for r in trail.select(acts, **by) if trail.first(r, "path") == f"/dicom-web/studies/{study}"]
    it.check("the trail has dr.adams retrieving the study", bool(read) and trail.first(read[0], "action") in ("Read", "Export"), trail.brief(acts))
    chart = trail.select(acts, action="Read", **by)
    it.check("the trail has dr.adams reading the patient's record, and which patient", patient in trail.patients(chart), trail.brief(chart))
    it.check("the trail has the upload by rad.tech", bool(trail.select(acts, subject="rad.tech", method="POST", path="/instances", action="Create")), trail.brief(acts))
    it.check("the trail has the physician's refused upload", bool(trail.select(records, phase="refuse", refusal="CG-3001", subject="dr.adams", path="/instances")), trail.brief(records))
    it.check("the trail has the refused sign-in", bool(trail.select(records, refusal="CG-2003")), trail.brief(records))
    proven = [trail.first(r, "proof") for r in acts]
    it.check("every act names how the second factor was proven", proven and all({"pwd", "otp"} <= set(p["amr"]) and p["mfa"] for p in proven), proven[:3])
    it.check("and when, though Canaille states fractions of a second", proven and all(p.get("auth_time") for p in proven), proven[:3])


report.run("Orthanc with a service account, signed in at Canaille", body)
