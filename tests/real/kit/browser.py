"""A person at a real browser: one of the scripts of parts/, and what it saw."""

import json
import subprocess

from . import cache, login


def browse(stage, authority, origin, script, seconds=240, **settings):
    """Runs `parts/SCRIPT.mjs` and returns what it saw, by step. Its pictures are kept under the script's name."""
    shots = cache.CACHE / "shots" / script
    shots.mkdir(parents=True, exist_ok=True)
    for old in shots.glob("*.png"):
        old.unlink()
    people = {key: vars(person) for key, person in login.people().items()}
    environment = {"BASE": origin, "CA": str(authority.ca), "SHOTS": str(shots), "USERS": json.dumps(people), **settings}
    person = stage.start(script, ["node", cache.CACHE / "node" / f"{script}.mjs"], environment)
    try:
        person.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        person.kill()
    steps = (json.loads(line) for line in person.text().splitlines() if line.startswith("{"))
    return {step["step"]: step["seen"] for step in steps}
