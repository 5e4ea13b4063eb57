"""Roles are read again with refresh tokens that the provider rotates; accounts are closed; sessions end."""

import concurrent.futures
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, emr, login, net, process, provider, report, tls, trail  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST = "pacs.clinic.test"
# The shortest that the configuration accepts: renewed after 48 seconds while in use.
EVERY, PATIENCE = "1m", 90


def body(it):
    with process.Stage(cache.work("refresh")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        origin = gateway.origin(HOST)
        orthanc = emr.Orthanc(stage).start()
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin])
        issuer.may_refresh()
        issuer.start()
        entry = {**issuer.issuer(), "refresh": {"every": EVERY, "grace": "5m"}, "logout": {"require_typ": True}}
        gateway.configure(entry, [orthanc.behind(HOST, REPOSITORY)])
        gateway.start()
        ask = Asker(authority, origin, issuer)
        session = ask.sign_in()
        if it.equal("the user works", ask.status(session), 200):
            roles_change(it, ask, session, gateway)
            many_tabs(it, ask, session, issuer)
            signed_out_there(it, ask, session, gateway)
            account_closed(it, ask, gateway, issuer)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        code, text = gateway.verify()
        it.check("`audit verify` is green", code == 0, text)


class Asker:
    def __init__(self, authority, origin, issuer):
        self._authority, self.origin, self._issuer = authority, origin, issuer

    def sign_in(self):
        session = net.browser(self._authority.ca)
        login.sign_in(session, f"{self.origin}/dicom-web/studies", login.people()["physician"], self._issuer.url)
        return session

    def answer(self, session):
        return session.get(f"{self.origin}/dicom-web/studies", headers=net.FETCH)

    def status(self, session):
        return self.answer(session).status_code

    def code(self, session):
        return self.answer(session).headers.get("x-chartgate-refusal")

    def administrator(self, change):
        net.browser(self._authority.ca).get(f"{self._issuer.url}/administrator/{change}")

    def sign_out_at_provider(self, session):
        page = session.get(f"{self._issuer.url}/session/end", headers=net.NAVIGATION)
        token = re.search(r'name="xsrf" value="([^"]+)"', page.text).group(1)
        session.post(f"{self._issuer.url}/session/end/confirm", data={"xsrf": token, "logout": "yes"}, headers={"Origin": self._issuer.url})


def eventually(it, what, look):
    try:
        it.check(what, net.await_true(what, look, seconds=PATIENCE, pause=1))
    except TimeoutError as problem:
        it.check(what, False, problem)


def roles_change(it, ask, session, gateway):
    ask.administrator("groups?user=dr.adams&groups=")
    eventually(it, "a role that was taken away stops working while the session goes on", lambda: ask.code(session) == "CG-2009")
    changed = [r for r in gateway.trail() if trail.first(r, "event") == "roles_changed"]
    it.check("the trail has the roles before and after", len(changed) == 1 and trail.first(changed[0], "before") == "physician", changed)
    ask.administrator("groups?user=dr.adams&groups=emr-physicians")
    eventually(it, "one that is given back works again", lambda: ask.status(session) == 200)


def many_tabs(it, ask, session, issuer):
    def renewals():
        return issuer.process.text().count("granted refresh_token") - issuer.process.text().count("not granted refresh_token")

    before = renewals()

    def look():
        with concurrent.futures.ThreadPoolExecutor(16) as tabs:
            statuses = set(tabs.map(lambda _: ask.status(session), range(16)))
        if statuses != {200}:
            raise RuntimeError(f"a tab got {statuses}")
        return renewals() > before

    eventually(it, "sixteen tabs at once outlast a renewal", look)
    it.check("no refresh token came twice", "not granted refresh_token" not in issuer.process.text(), issuer.process.text()[-800:])


def signed_out_there(it, ask, session, gateway):
    ask.sign_out_at_provider(session)
    eventually(it, "a sign-out at the provider ends the session here, by a typed notice", lambda: ask.status(session) == 401)
    ended = [r for r in gateway.trail() if trail.first(r, "event") == "session_ended"]
    it.check("the trail has the cause", [trail.first(r, "cause") for r in ended] == ["back_channel"], ended)


def account_closed(it, ask, gateway, issuer):
    session = ask.sign_in()
    it.equal("the user works again", ask.status(session), 200)
    ask.administrator("close?user=dr.adams")
    eventually(it, "a closed account ends the session at the next renewal", lambda: ask.code(session) == "CG-2017")
    it.check("the provider had refused the renewal", "not granted refresh_token invalid_grant" in issuer.process.text(), issuer.process.text()[-800:])
    causes = [trail.first(r, "cause") for r in gateway.trail() if trail.first(r, "event") == "session_ended"]
    it.equal("the trail has that cause, too", causes, ["back_channel", "renewal_denied"])


report.run("Roles are read again, and sessions end", body)
