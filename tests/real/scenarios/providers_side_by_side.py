"""Two providers at one gateway: `oidc-provider` for the staff, Canaille for the affiliates. Both know a `dr.adams`.

Which one is asked is a matter of the host, of the e-mail address or of a button; who comes of it is a matter of the
provider alone: sessions, roles, answers and sign-out of one are never the other's.
"""

import json
import pathlib
import re
import shutil
import sys
from urllib.parse import parse_qsl, urlencode, urlsplit

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import browser, cache, emr, login, net, process, provider, report, tls, trail  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

SHARED, WARD, ANNEX = "pacs.clinic.test", "ward.clinic.test", "annex.clinic.test"
NAMES = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"DNS:{host}" for host in (SHARED, WARD, ANNEX))])
SEARCH = "/dicom-web/studies"
# One claim value, which each provider's users get another role for.
GRANTS = {"hospital": "physician", "affiliates": "radiology-technician"}


def body(it):
    with process.Stage(cache.work("providers")) as stage:
        clinic = Clinic(stage)
        clinic.open(it)
        leaver = clinic.enters("affiliates", clinic.visitor)
        it.equal("an affiliate works", clinic.status(leaver), 200)
        clinic.canaille.in_group("emr-visitors", clinic.theirs)
        ours = clinic.enters("hospital", clinic.ours)
        theirs = clinic.enters("affiliates", clinic.theirs)
        the_same_name(it, clinic, ours, theirs)
        answers_of_the_other(it, clinic)
        in_a_browser(it, stage, clinic)
        signed_out_at_the_provider(it, clinic, ours, theirs)
        locked_out(it, clinic, theirs)
        read_again(it, clinic, leaver)
        what_the_trail_says(it, clinic.gateway.trail())
        it.check("the gateway ends in good order", clinic.gateway.stop() == 0, clinic.gateway.process.text()[-800:])
        code, text = clinic.gateway.verify()
        it.check("`audit verify` is green", code == 0, text)


class Clinic:
    """Gateway, both providers, and Orthanc behind three names: for both, for the staff, for the affiliates."""

    def __init__(self, stage):
        self.authority = tls.Authority(stage.directory / "tls", NAMES)
        policies = stage.directory / "policies"
        shutil.copytree(REPOSITORY / "policies", policies)
        roles = policies / "roles.toml"
        both = "".join(f'[[grant]]\nrole = "{role}"\nclaim = "emr-physicians"\nissuer = "{name}"\n\n' for name, role in GRANTS.items())
        visitors = '[[grant]]\nrole = "radiology-technician"\nclaim = "emr-visitors"\nissuer = "affiliates"\n\n'
        roles.write_text(roles.read_text().replace('[[grant]]\nrole = "physician"\nclaim = "emr-physicians"\n\n', both + visitors))
        self.gateway = Gateway(stage, self.authority, policies=policies)
        self.console = Console(self.gateway.config, stage.directory / "commands.log")
        self.origin, self.ward, self.annex = (self.gateway.origin(host) for host in (SHARED, WARD, ANNEX))
        self.orthanc = emr.Orthanc(stage).start()
        self.ours = login.people()["physician"]
        self.theirs = login.Person("dr.adams", "Other-horse-1")
        self.visitor = login.Person("dr.bell", "Other-horse-2")
        self.oidc = provider.OidcProvider(stage, cache.CACHE, self.authority, [self.origin, self.ward]).start()
        members = [(self.theirs, "emr-physicians"), (self.visitor, "emr-visitors")]
        self.canaille = provider.Canaille(stage, cache.CACHE, self.authority, [self.origin, self.annex], members, callback="callback/affiliates").start()
        self.urls = {"hospital": self.oidc.url, "affiliates": self.canaille.url}

    def open(self, it):
        staff = {**self.oidc.issuer(), "label": "Hospital staff", "emrs": ["pacs", "ward"], "email_domains": ["hospital.test"]}
        affiliates = {
            **self.canaille.issuer(), "name": "affiliates", "label": "Affiliated practices", "emrs": ["pacs", "annex"],
            "email_domains": ["affiliates.test"], "name_suffix": "@affiliates", "callback": "own", "refresh": {"every": "1m", "grace": "5m"},
        }
        entries = [{**self.orthanc.behind(host, REPOSITORY), "name": name} for name, host in (("pacs", SHARED), ("ward", WARD), ("annex", ANNEX))]
        self.gateway.configure([staff, affiliates], entries)
        code, text = self.gateway.check()
        of_issuers = [line for line in text.splitlines() if "(identity.issuer" in line and ".ca)" not in line]
        it.check("`check` finds nothing wrong with two providers", code == 0 and not of_issuers, text)
        self.gateway.start()

    def enters(self, issuer, person):
        session = net.browser(self.authority.ca)
        login.sign_in(session, self.address(issuer), person, self.urls[issuer])
        return session

    def address(self, issuer):
        return f"{self.origin}/.chartgate/login?{urlencode({'issuer': issuer, 'return_to': SEARCH})}"

    def answer(self, session, origin=None):
        return session.get(f"{origin or self.origin}{SEARCH}", headers=net.FETCH, allow_redirects=False)

    def status(self, session, origin=None):
        return self.answer(session, origin).status_code

    def code(self, session):
        return self.answer(session).headers.get("x-chartgate-refusal")


def the_same_name(it, clinic, ours, theirs):
    it.equal("the dr.adams of the staff and that of the affiliates work", (clinic.status(ours), clinic.status(theirs)), (200, 200))
    image, headers = emr.sample("MR_small.dcm").read_bytes(), {**net.FETCH, "Content-Type": "application/dicom", "Origin": clinic.origin}
    refused, taken = (one.post(f"{clinic.origin}/instances", data=image, headers=headers) for one in (ours, theirs))
    it.equal("the physician of the staff may not upload", (refused.status_code, refused.headers.get("x-chartgate-refusal")), (403, "CG-3001"))
    it.equal("the technician that the same claim value makes of the affiliate may", taken.status_code, 200)
    for what, session, elsewhere in (("the staff's", ours, clinic.annex), ("the affiliate's", theirs, clinic.ward)):
        cookie = f"__Host-chartgate={session.cookies.get('__Host-chartgate')}"
        carried = net.browser(clinic.authority.ca).get(f"{elsewhere}{SEARCH}", headers={**net.FETCH, "Cookie": cookie})
        it.equal(f"{what} session opens nothing at a host of the other provider alone", carried.status_code, 401)
    code, rows = clinic.console.rows("session", "list", "--json")
    it.check("the list of sessions has two users", code == 0 and {"hospital|dr.adams", "affiliates|dr.adams"} <= set(re.findall(r"\w+\|dr\.adams", json.dumps(rows))), rows)


def answers_of_the_other(it, clinic):
    """RFC 9700, 4.4: what one provider answered is put in the place of what the other one was asked."""
    callbacks = {"hospital": "/.chartgate/callback", "affiliates": "/.chartgate/callback/affiliates"}

    def answered(session, issuer):
        """What a browser would bring back from this provider."""
        person = clinic.ours if issuer == "hospital" else clinic.theirs
        back = login.sign_in(session, clinic.address(issuer), person, clinic.urls[issuer], short_of=clinic.origin)
        return dict(parse_qsl(urlsplit(back.headers["Location"]).query))

    def tried(what, asked, other, path=None, **change):
        """The sign-in that was begun at `asked` is finished with what `other` answered."""
        session = net.browser(clinic.authority.ca)
        forged = {**answered(session, other), "state": answered(session, asked)["state"], **change}
        query = urlencode({name: value for name, value in forged.items() if value})
        page = session.get(f"{clinic.origin}{path or callbacks[asked]}?{query}", headers={**net.NAVIGATION, "Sec-Fetch-Site": "cross-site"}, allow_redirects=False)
        seen = (page.status_code, page.headers.get("x-chartgate-refusal"), clinic.status(session))
        it.equal(f"refused: {what}", seen, (403, "CG-2004", 401))
        return forged

    answer = tried("an affiliate's code for a sign-in of the staff", "hospital", "affiliates")
    it.equal("Canaille names itself in its answer", answer.get("iss"), clinic.canaille.url)
    tried("the same, which names nobody", "hospital", "affiliates", iss=None)
    tried("the same in the staff's name: their provider does not know the code", "hospital", "affiliates", iss=clinic.oidc.url)
    tried("a code of the staff for an affiliate's sign-in", "affiliates", "hospital")
    tried("the same in the affiliates' name", "affiliates", "hospital", iss=clinic.canaille.url)
    tried("an affiliate's answer at the address of the staff", "affiliates", "affiliates", path=callbacks["hospital"])
    tried("an answer of the staff at the affiliates' address", "hospital", "hospital", path=callbacks["affiliates"])


def in_a_browser(it, stage, clinic):
    settings = {
        "BASE": clinic.origin,
        "CA": str(clinic.authority.ca),
        "HOSTS": json.dumps({"staff": clinic.ward, "affiliates": clinic.annex}),
        "PEOPLE": json.dumps({"staff": vars(clinic.ours), "affiliate": vars(clinic.theirs)}),
        "ADDRESS": "dr.adams@affiliates.test",
    }
    seen = dict(browser.run(stage, "providers", settings))
    it.check("the browser came to its end", seen.get("end"), seen)
    choice, again = seen.get("choice", {}), seen.get("choice again", {})
    it.equal("at the host for both, people are asked where they belong", (choice.get("buttons"), choice.get("address")), (["Hospital staff", "Affiliated practices"], 1))
    for name, issuer, origin in (
        ("by button", "hospital", clinic.origin),
        ("by e-mail address", "affiliates", clinic.origin),
        ("by host of the staff", "hospital", clinic.ward),
        ("by host of the affiliates", "affiliates", clinic.annex),
    ):
        step = seen.get(name, {})
        it.equal(f"{name}: the right provider asks, and the page comes", (step.get("asked", {}).get("by"), step.get("url")), (clinic.urls[issuer], f"{origin}/system"))
        it.check(f"{name}: it is Orthanc's", "ApiVersion" in step.get("text", ""), step)
    it.equal("what the staff's provider is asked was pushed ahead of the browser", seen.get("by button", {}).get("asked", {}).get("carried"), ["client_id", "request_uri"])
    it.equal("the e-mail address goes along", seen.get("by e-mail address", {}).get("asked", {}).get("hint"), settings["ADDRESS"])
    it.equal("who was there last is offered first", again.get("first"), "Hospital staff")
    for name, issuer, other in (("staff signs out", "hospital", "affiliates"), ("affiliate signs out", "affiliates", "hospital")):
        step = seen.get(name, {})
        visited = step.get("visited", [])
        it.check(f"{name}: at their own provider, and not at the other", clinic.urls[issuer] in visited and clinic.urls[other] not in visited, step)
        it.check(f"{name}: and the gateway says so", step.get("url", "").startswith(f"{clinic.origin}/.chartgate/signed-out"), step)


def signed_out_at_the_provider(it, clinic, ours, theirs):
    page = ours.get(f"{clinic.oidc.url}/session/end", headers=net.NAVIGATION)
    token = re.search(r'name="xsrf" value="([^"]+)"', page.text).group(1)
    ours.post(f"{clinic.oidc.url}/session/end/confirm", data={"xsrf": token, "logout": "yes"}, headers={"Origin": clinic.oidc.url})
    net.await_true("the notice", lambda: clinic.status(ours) == 401, 10)
    it.equal("a notice of the staff's provider ends the session of its dr.adams only", (clinic.status(ours), clinic.status(theirs)), (401, 200))


def locked_out(it, clinic, theirs):
    ours = clinic.enters("hospital", clinic.ours)
    code, text = clinic.console.ask("user", "lock", "affiliates|dr.adams", "--reason", "Practice has left")
    it.check("an operator locks one of the two", code == 0, text)
    it.equal("whose session ends; the other one works on", (clinic.code(theirs), clinic.status(ours)), ("CG-2013", 200))
    page = login.sign_in(net.browser(clinic.authority.ca), clinic.address("affiliates"), clinic.theirs, clinic.canaille.url)
    it.check("a new sign-in of theirs is refused", page.status_code == 403 and "CG-2014" in page.text, (page.status_code, page.text[:300]))
    again = clinic.enters("hospital", clinic.ours)
    it.equal("and one of the other's is not", clinic.status(again), 200)


def read_again(it, clinic, leaver):
    try:
        net.await_true("a renewal", lambda: clinic.code(leaver) == "CG-2009", 75, 1)
    except TimeoutError:
        pass
    it.equal("a role that the affiliates' provider took away ends with the renewal", clinic.code(leaver), "CG-2009")


def what_the_trail_says(it, records):
    logins = [trail.first(r, "principal") for r in records if trail.first(r, "event") == "login"]
    it.check("the trail has sign-ins at both providers", {one["issuer"] for one in logins} == set(GRANTS), logins)
    mixed = [one for one in logins if one["roles"] != [GRANTS[one["issuer"]]] or one["name"].endswith("@affiliates") != (one["issuer"] == "affiliates")]
    it.check("each with the roles of its own mapping and the names of its own users", len(logins) >= 8 and not mixed, mixed or logins)
    hosts = {(trail.first(r, "emr"), trail.first(r, "issuer")) for r in trail.select(records, phase="admit")}
    it.equal("nobody worked where their provider is not for", hosts, {("pacs", "hospital"), ("pacs", "affiliates"), ("ward", "hospital"), ("annex", "affiliates")})
    refused = trail.select(records, phase="refuse", refusal="CG-2004")
    it.equal("every answer of the wrong provider is on record", len(refused), 7)
    # The sign-out in Chromium was told, too, when its session had ended already.
    told = [trail.first(r, "issuer") for r in records if trail.first(r, "event") == "backchannel_logout"]
    it.check("notices concern the staff", "hospital" in told and "affiliates" not in told, told)


report.run("Two providers side by side", body)
