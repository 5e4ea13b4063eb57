"""A person at a real browser: one of the scripts of parts/, and what it saw."""

import json
import subprocess

from . import cache, login


def watch(stage, authority, origin, script, seconds=240, name=None, **settings):
    """What people at the oidc-provider part do: each step with what was seen."""
    people = {key: vars(person) for key, person in login.people().items()}
    environment = {"BASE": origin, "CA": str(authority.ca), "USERS": json.dumps(people), **settings}
    return run(stage, script, environment, seconds, name)


def run(stage, script, environment, seconds=240, name=None):
    """Runs `parts/SCRIPT.mjs` and returns each step with what it saw. Its pictures are kept under the name, else the script's."""
    name = name or script
    shots = cache.CACHE / "shots" / name
    shots.mkdir(parents=True, exist_ok=True)
    for old in shots.glob("*.png"):
        old.unlink()
    command = ["node", cache.CACHE / "node" / f"{script}.mjs"]
    person = stage.start(name, command, {"SHOTS": str(shots), **environment})
    try:
        person.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        person.kill()
    steps = [json.loads(line) for line in person.text().splitlines() if line.startswith("{")]
    if not any(step["step"] == "end" for step in steps):
        print(person.text()[-3000:], flush=True)
    return [(step["step"], step["seen"]) for step in steps]


def signs_in(it, stage, authority, origin, person, page, provider):
    """The person signs in in Chromium, at the provider with this origin, and arrives at the page that they asked for."""
    seen = browse(stage, authority, origin, "provider_sign_in", name=f"sign-in-{person.name}", USER=json.dumps(vars(person)), PAGE=page)
    it.equal(f"in Chromium {person.name} is asked by the provider", seen.get("asked by"), provider.rstrip("/"))
    arrived = seen.get("arrived") or {}
    it.check(f"in Chromium {person.name} arrives at the page that they asked for", arrived.get("url") == f"{origin}{page}" and "CG-" not in arrived.get("text", "CG-"), arrived or seen)
    cookies = seen.get("cookies") or []
    small = len(cookies) in (1, 2) and all(c["httpOnly"] and c["secure"] and c["size"] < 100 for c in cookies)
    it.check(f"in Chromium {person.name} has a small cookie that no script reads", small, cookies)


def browse(*arguments, **settings):
    """The same, by step: the last of each."""
    return dict(watch(*arguments, **settings))
