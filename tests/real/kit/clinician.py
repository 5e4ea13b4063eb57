"""Somebody at work in Opal through the gateway, as Opal's pages ask for things."""

from . import emr, login, net


class Clinician:
    """One of the accounts at the provider; in Opal they work under Opal's own name and password."""

    def __init__(self, authority, origin, issuer, person="physician"):
        self._authority, self._origin, self._issuer = authority, origin, issuer
        self._person = login.people()[person]
        self.session = None

    def sign_in(self):
        """At the provider, in a browser that has no session. Returns the page where that ends."""
        self.session = net.browser(self._authority.ca)
        return login.sign_in(self.session, f"{self._origin}/accounts/login/", self._person, self._issuer)

    def open_opal(self, page):
        """Opal's own login, with its CSRF token."""
        token = page.text.split('name="csrfmiddlewaretoken"', 1)[1].split('value="', 1)[1].split('"', 1)[0]
        fields = {"csrfmiddlewaretoken": token, "username": self._person.name, "password": emr.Opal.PASSWORD}
        return self.session.post(page.url, data=fields, allow_redirects=False,
                                 headers={**net.NAVIGATION, "Sec-Fetch-Site": "same-origin", "Origin": self._origin, "Referer": page.url})

    def get(self, path, **query):
        return self.session.get(self._origin + path, params=query, headers=net.FETCH, allow_redirects=False)

    def diagnose(self, episode, condition):
        headers = {**net.FETCH, "Origin": self._origin, "Referer": f"{self._origin}/", "X-XSRF-TOKEN": self.session.cookies.get("XSRF-TOKEN", "")}
        return self.session.post(f"{self._origin}/api/v0.1/diagnosis/", json={"episode_id": episode, "condition": condition}, headers=headers, allow_redirects=False)
