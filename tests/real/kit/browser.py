"""A person at a real browser: one of the scripts of parts/, and what it saw."""

import json
import subprocess

from . import cache, login


def watch(stage, authority, origin, script, seconds=240, name=None, **settings):
    """Runs `parts/SCRIPT.mjs` and returns each step with what it saw. Its pictures are kept under the name, else the script's."""
    name = name or script
    shots = cache.CACHE / "shots" / name
    shots.mkdir(parents=True, exist_ok=True)
    for old in shots.glob("*.png"):
        old.unlink()
    people = {key: vars(person) for key, person in login.people().items()}
    environment = {"BASE": origin, "CA": str(authority.ca), "SHOTS": str(shots), "USERS": json.dumps(people), **settings}
    person = stage.start(name, ["node", cache.CACHE / "node" / f"{script}.mjs"], environment)
    try:
        person.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        person.kill()
    steps = [json.loads(line) for line in person.text().splitlines() if line.startswith("{")]
    if not any(step["step"] == "end" for step in steps):
        print(person.text()[-3000:], flush=True)
    return [(step["step"], step["seen"]) for step in steps]


def browse(*arguments, **settings):
    """The same, by step: the last of each."""
    return dict(watch(*arguments, **settings))
