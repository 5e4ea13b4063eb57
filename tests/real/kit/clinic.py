"""The sample clinic, and people at one of its workstations."""

import json
import subprocess

from kit import cache
from kit.gateway import binary


def facts_of(clinic):
    for line in clinic.text().splitlines():
        if line.startswith("{"):
            return json.loads(line)
    return None


def at_the_workstation(stage, facts, script, **settings):
    """Runs `parts/SCRIPT.mjs`; what it saw by step."""
    shots = cache.CACHE / "shots"
    shots.mkdir(exist_ok=True)
    environment = {
        "BASE": facts["url"].rstrip("/"),
        "CA": facts["ca_cert"],
        "SHOTS": str(shots),
        "USERS": json.dumps(facts["users"]),
        "EMR_PASSWORD": facts["emr_login"]["password"],
        **settings,
    }
    done = stage.start("workstation", ["node", cache.CACHE / "node" / f"{script}.mjs"], environment)
    try:
        done.popen.wait(270)
    except subprocess.TimeoutExpired:
        done.kill()
    seen = {}
    for line in done.text().splitlines():
        if line.startswith("{"):
            step = json.loads(line)
            seen[step["step"]] = step["seen"]
    if "end" not in seen:
        print(done.text()[-3000:])
    return seen


def records_of(facts):
    """The trail."""
    done = subprocess.run([binary(), "audit", "show", "--config", facts["config"], "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the trail cannot be read: {done.stderr[-800:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
