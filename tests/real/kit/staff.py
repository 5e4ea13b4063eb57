"""People of the sample clinic who work without a browser: they follow redirects and fill in forms."""

import re
from urllib.parse import urljoin

from . import net
from .login import Person, _attribute


class Staff:
    """One of the clinic's users, signed in at the gateway and in the EMR."""

    def __init__(self, facts, name):
        self._facts, self._base = facts, facts["url"].rstrip("/")
        user = next(user for user in facts["users"] if user["name"] == name)
        self._person = Person(name, user["password"], user["totp_secret"].rstrip("="))
        self.session = net.browser(facts["ca_cert"])
        page = self._signed_in(self.get("/", headers=net.NAVIGATION))
        if not page.url.startswith(self._base):
            raise RuntimeError(f"{name} is not signed in: {page.url}")
        self.post("/login", username=name, password=facts["emr_login"]["password"])

    def get(self, path, headers=None):
        """A page, with what it redirects to."""
        return self.session.get(self._base + path, headers=headers or {**net.NAVIGATION, "Sec-Fetch-Site": "same-origin"})

    def post(self, path, **fields):
        """A form of the page that is open."""
        return self.session.post(self._base + path, data=fields, headers={**net.NAVIGATION, "Sec-Fetch-Site": "same-origin", "Origin": self._base})

    def _signed_in(self, page):
        # The notice, the password, the code.
        for _ in range(6):
            asked = re.search(r'name="(password|code|ticket)"', page.text)
            if not asked or page.url == f"{self._base}/login":
                return page
            form = next(form for form in re.findall(r"<form\b[^>]*>.*?</form>", page.text, re.S) if asked.group(0) in form)
            tags = re.findall(r"<input\b[^>]*>", form)
            fields = {_attribute(tag, "name"): _attribute(tag, "value") or "" for tag in tags}
            known = {"username": self._person.name, "password": self._person.password, "code": self._person.code()}
            fields.update((key, known[key]) for key in fields if key in known)
            action = _attribute(re.match(r"<form\b[^>]*>", form).group(0), "action") or page.url
            origin = "/".join(page.url.split("/")[:3])
            page = self.session.post(urljoin(page.url, action), data=fields, headers={**net.NAVIGATION, "Sec-Fetch-Site": "same-origin", "Origin": origin, "Referer": page.url})
        return page
