"""What must hold of the chart. usage: check.py CHART CHARTGATE

Helm's own code lints and renders; Kubernetes' own schemas judge each manifest; the gateway judges the configuration.
The last line is `N passed, M failed`.
"""

import pathlib
import subprocess
import sys
import tempfile

import helm_python as helm
import kubernetes_validate as kubernetes
import yaml

KUBERNETES = "1.33"
# Kinds of custom resources, whose schemas Kubernetes does not bring along.
CUSTOM = {"ServiceMonitor"}

passed = failed = 0


def check(what, holds, detail=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
    print(("ok    " if holds else "FAILED"), what, "" if holds else f": {detail}")


def rendered(chart, values):
    files = chart.render(values, name="gate", namespace="chartgate")
    texts = [text for file, text in files.items() if file.endswith(".yaml")]
    return [d for text in texts for d in yaml.safe_load_all(text) if d]


def of_kind(objects, kind, suffix=""):
    return [o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(suffix)]


def is_valid(manifest):
    if manifest["kind"] in CUSTOM:
        return True, ""
    try:
        kubernetes.validate(manifest, KUBERNETES, strict=True)
    except (kubernetes.ValidationError, kubernetes.SchemaNotFoundError) as error:
        return False, str(error)
    return True, ""


def restricted(pod):
    """The Pod Security Standard "restricted"."""
    whole = pod["securityContext"]
    yield "runs as nobody in particular", whole["runAsNonRoot"] and whole["runAsUser"] != 0
    yield "system calls are filtered", whole["seccompProfile"]["type"] == "RuntimeDefault"
    yield "no token of the cluster", pod["automountServiceAccountToken"] is False
    yield "no host namespace", not any(pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC"))
    yield "no host path", not any("hostPath" in v for v in pod["volumes"])
    for one in pod["containers"] + pod.get("initContainers", []):
        own = one["securityContext"]
        yield f"{one['name']}: no escalation", own["allowPrivilegeEscalation"] is False
        yield f"{one['name']}: no capabilities", own["capabilities"] == {"drop": ["ALL"]}
        yield f"{one['name']}: nothing is written into the image", own["readOnlyRootFilesystem"] is True


def check_pod(objects):
    sets = of_kind(objects, "StatefulSet")
    check("one StatefulSet with one pod", len(sets) == 1 and sets[0]["spec"]["replicas"] == 1)
    spec = sets[0]["spec"]
    pod = spec["template"]["spec"]
    for what, holds in restricted(pod):
        check(f"pod: {what}", holds)
    claims = {c["metadata"]["name"] for c in spec["volumeClaimTemplates"]}
    check("trail and witness have volumes of their own", claims == {"data", "witness"}, claims)
    probes = pod["containers"][0]
    check("it is probed", all(p in probes for p in ("startupProbe", "livenessProbe", "readinessProbe")))
    given = {v["name"] for v in pod["volumes"]} | claims
    mounted = {m["name"] for m in probes["volumeMounts"]}
    check("every volume is mounted, every mount has a volume", given == mounted, given ^ mounted)
    drain = pod["terminationGracePeriodSeconds"]
    check("it may drain before it is killed", drain > 30, drain)


def check_networks(objects):
    policies = of_kind(objects, "NetworkPolicy")
    own = [p for p in policies if p["metadata"]["namespace"] == "chartgate"]
    emr = [p for p in policies if p["metadata"]["name"].endswith("only-way-in")]
    check("a policy for the gateway, one for the EMR", len(own) == 1 and len(emr) == 1, len(policies))
    egress = own[0]["spec"]["egress"]
    check("the gateway's ways out are named", all(rule.get("to") and rule.get("ports") for rule in egress))
    check("it has no others", own[0]["spec"]["policyTypes"] == ["Ingress", "Egress"])
    ways_in = emr[0]["spec"]["ingress"]
    peers = ways_in[0]["from"]
    pods = of_kind(objects, "StatefulSet")[0]["spec"]["template"]["metadata"]["labels"]
    wanted = peers[0]["podSelector"]["matchLabels"]
    only = len(ways_in) == len(peers) == 1 and peers[0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "chartgate"
    }
    check("only the gateway reaches the EMR", only and wanted.items() <= pods.items(), ways_in)


def check_refusals(chart):
    wrong = {
        "a misspelt key": {"netwerkPolicy": {}},
        "more than one pod": {"replicas": 2},
        "a digest that is none": {"image": {"digest": "sha256:abc"}},
        "a destination without ports": {"networkPolicy": {"egress": {"x": {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}}},
        "a destination that is everywhere": {"networkPolicy": {"egress": {"x": {"to": [], "ports": [443]}}}},
        "a port as text": {"service": {"httpsPort": "443"}},
        "a configuration that is a map": {"config": {"server": {}}},
        "a size that is none": {"persistence": {"size": "much"}},
        "a policy file that leaves its directory": {"policies": {"../x.cedar": ""}},
    }
    for what, values in wrong.items():
        try:
            chart.validate_schema(values)
            check(f"the schema refuses {what}", False, "accepted")
        except helm.HelmError:
            check(f"the schema refuses {what}", True)


def check_configuration(objects, chartgate, policies):
    """The gateway itself reads the configuration, at the places where the pod has things."""
    text = of_kind(objects, "ConfigMap")[0]["data"]["chartgate.toml"]
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        made = subprocess.run(
            [chartgate, "init", place / "made", "--host", "emr.hospital.example"], capture_output=True, text=True
        )
        check("keys and a certificate can be made", made.returncode == 0, made.stderr)
        places = {
            "/etc/chartgate/keys": place / "made/keys",
            "/etc/chartgate/tls/tls.crt": place / "made/certs/server.pem",
            "/etc/chartgate/tls/tls.key": place / "made/certs/server.key",
            "/etc/chartgate/oidc": place / "made/secrets",
            "/etc/chartgate/policies": policies,
            "/var/lib/chartgate-witness": place / "witness",
            "/var/lib/chartgate": place / "data",
            "/run/chartgate": place / "data",
        }
        secret = place / "made/secrets/client_secret"
        secret.touch(mode=0o600)
        secret.write_text("a-secret-of-the-test\n")
        for directory in ("witness", "data"):
            (place / directory).mkdir()
        for path, real in places.items():
            text = text.replace(path, str(real))
        file = place / "chartgate.toml"
        file.write_text(text)
        found = subprocess.run(
            [chartgate, "check", "--offline", "--config", file], capture_output=True, text=True
        )
        check("the gateway accepts the configuration", found.returncode == 0, found.stdout + found.stderr)


def main():
    path, chartgate = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    cases = {"the defaults": None}
    cases |= {file.stem: yaml.safe_load(file.read_text()) for file in sorted((path / "ci").glob("*.yaml"))}
    with helm.Chart.load(path) as chart:
        for name, values in cases.items():
            found = helm.lint(path, values, strict=True)
            complaints = [m for m in found["messages"] or [] if m["severity"] >= 2] + (found["errors"] or [])
            check(f"{name}: lint", not complaints, complaints)
            objects = rendered(chart, values)
            for manifest in objects:
                holds, why = is_valid(manifest)
                label = f"{manifest['kind']} {manifest['metadata']['name']}"
                check(f"{name}: {label} is valid", holds, why)
        objects = rendered(chart, None)
        kinds = {o["kind"] for o in rendered(chart, cases["everything"])}
        wanted = {"StatefulSet", "Service", "Ingress", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor",
                  "ServiceAccount", "ConfigMap"}
        check("everything that is promised is rendered", kinds == wanted, kinds ^ wanted)
        check_pod(objects)
        check_pod(rendered(chart, cases["everything"]))
        check_networks(objects)
        check("without network policies there are none", not of_kind(rendered(chart, cases["open"]), "NetworkPolicy"))
        own = rendered(chart, cases["everything"])
        items = next(v["configMap"]["items"] for v in of_kind(own, "StatefulSet")[0]["spec"]["template"]["spec"]["volumes"]
                     if v["name"] == "policies")
        data = of_kind(own, "ConfigMap", "-policies")[0]["data"]
        mounted = {item["path"]: data[item["key"]].rstrip("\n") for item in items}
        given = {k: v.rstrip("\n") for k, v in cases["everything"]["policies"].items()}
        check("policies of one's own are mounted under their names", mounted == given, mounted)
        check_refusals(chart)
        check_configuration(objects, chartgate, path.parent.parent / "policies")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
