"""Signing in the way a person does: follow the redirects, fill in what the provider's pages ask for."""

import base64
import hashlib
import hmac
import html
import re
import struct
import time
from urllib.parse import urljoin

from . import net


class Person:
    """Somebody with an account at the provider. `seed` is the TOTP secret; some providers hand it out on enrolment."""

    def __init__(self, name, password, seed=None):
        self.name = name
        self.password = password
        self.seed = seed

    def code(self):
        key = base64.b32decode(self.seed + "=" * (-len(self.seed) % 8))
        mac = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
        at = mac[-1] & 15
        return f"{(struct.unpack('>I', mac[at:at + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"


def people():
    """The accounts at the oidc-provider part."""
    seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    return {
        "physician": Person("dr.adams", "Correct-horse-1", seed),
        "nurse": Person("nurse.lee", "Correct-horse-2", seed),
        "one_factor": Person("clerk.kim", "Correct-horse-3"),
        "it": Person("sec.ops", "Correct-horse-4", seed),
    }


def sign_in(session, url, person, provider, hops=40, short_of=None):
    """Opens `url` and signs in wherever `provider` (its origin) asks. Returns the first page that is not the provider's.

    With `short_of`, the redirect to an address that begins so is returned instead of followed.
    """
    response = session.get(url, headers=net.NAVIGATION, allow_redirects=False)
    for _ in range(hops):
        if response.is_redirect:
            onward = urljoin(response.url, response.headers["Location"])
            if short_of and onward.startswith(short_of):
                return response
            response = session.get(onward, headers={**net.NAVIGATION, "Sec-Fetch-Site": "cross-site"}, allow_redirects=False)
            continue
        if not response.url.startswith(provider) or response.status_code >= 400:
            return response
        action, fields = _filled(response.text, person)
        response = session.post(
            urljoin(response.url, action),
            data=fields,
            headers={"Origin": provider, "Referer": response.url},
            allow_redirects=False,
        )
    raise RuntimeError(f"no end of redirects at {response.url}")


def _filled(page, person):
    forms = re.findall(r"<form\b[^>]*>.*?</form>", page, re.S)
    if not forms:
        raise RuntimeError("the provider shows no form: " + re.sub(r"\s+", " ", page)[:400])
    form = next((f for f in forms if "csrf_token" in f), forms[0])
    fields = {}
    for tag in re.findall(r"<(?:input|button)\b[^>]*>", form):
        name, value = _attribute(tag, "name"), _attribute(tag, "value")
        if name and 'type="submit"' not in tag:
            fields[name] = value or ""
    if "login" in fields:
        fields["login"] = person.name
    if "username" in fields:
        fields["username"] = person.name
    if "password" in fields:
        fields["password"] = person.password
    if "otp" in fields:
        enrolled = re.search(r"secret=([A-Z2-7]{16,})", html.unescape(page))
        if enrolled:
            person.seed = enrolled.group(1)
        fields["otp"] = person.code()
    if 'name="answer"' in form:
        fields["answer"] = "accept"
    return _attribute(re.match(r"<form\b[^>]*>", form).group(0), "action") or "", fields


def _attribute(tag, name):
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return html.unescape(found.group(1)) if found else None
