"""The sample clinic, and people at one of its workstations."""

import json
import subprocess

from kit import browser
from kit.gateway import binary


def facts_of(clinic):
    for line in clinic.text().splitlines():
        if line.startswith("{"):
            return json.loads(line)
    return None


def at_the_workstation(stage, facts, script, **settings):
    """What people at the sample clinic do, by step: the last of each."""
    environment = {
        "BASE": facts["url"].rstrip("/"),
        "CA": facts["ca_cert"],
        "USERS": json.dumps(facts["users"]),
        "EMR_PASSWORD": facts["emr_login"]["password"],
        **settings,
    }
    return dict(browser.run(stage, script, environment, seconds=270))


def records_of(facts):
    """The trail."""
    done = subprocess.run([binary(), "audit", "show", "--config", facts["config"], "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the trail cannot be read: {done.stderr[-800:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
