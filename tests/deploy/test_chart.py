"""The Helm chart: it renders to what Kubernetes takes, hardened as it should be, and refuses values that make no sense.

Rendered by Helm's own library, which is no dependency of ours: `pip install helm-python-sdk`, else these are skipped.
What needs no rendering is checked in any case.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with schemathesis, without types

from chatkeep import __version__
from chatkeep.config import Settings
from tests.deploy.dockerfile import DEPLOY

CHART = DEPLOY / "helm" / "chatkeep"
LEAST: dict[str, Any] = {
    "database": {"existingSecret": "database"},
    "secrets": {"existingSecret": "secrets"},
}
MOST: dict[str, Any] = {
    "database": {"url": "postgresql://chatkeep:x@db/chatkeep"},
    "secrets": {"pepper": "p", "sessionKey": "s", "signingPem": "two\nlines\n"},
    "autoscaling": {"enabled": True},
    "migratePost": {"enabled": True},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": ["chat.example.org"],
        "annotations": {"a": "b"},
    },
    "settings": {
        "CHATKEEP_BODY_BYTES_MAX": 10485760,
        "CHATKEEP_LEASE_S": 2.5,
        "CHATKEEP_LOG_REQUESTS": False,
    },
    "extraEnv": [{"name": "X", "value": "y"}],
    "podLabels": {"x": "y"},
    "drainSeconds": 45,
    "workers": 3,
}


def rendered(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the chart makes of the values, by kind and name."""
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="chatkeep", namespace="here", is_install=True)
    told = [
        each for path, text in texts.items() if path.endswith(".yaml") for each in yaml.safe_load_all(text)
    ]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in told if each}


def pods(objects: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        each["spec"]["template"]["spec"] for each in objects.values() if each["kind"] in ("Deployment", "Job")
    ]


def test_chart_values_and_schema_name_the_same() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"].keys() - {"global"} == values.keys()
    for name, each in schema["properties"].items():
        if "properties" in each:
            assert each["properties"].keys() == values[name].keys(), name
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def test_every_value_is_used_and_every_one_that_is_used_is_there() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    texts = "".join(each.read_text() for each in (CHART / "templates").iterdir())
    used = {tuple(path.split(".")) for path in re.findall(r"\.Values\.([\w.]+)", texts)}
    assert {path[0] for path in used} == values.keys()
    for path in used:
        found: Any = values
        for part in path:
            assert part in found, ".".join(path)
            found = found[part]


def test_with_few_values_it_is_a_deployment_behind_a_service() -> None:
    assert rendered(LEAST).keys() == {
        "Deployment/chatkeep",
        "Service/chatkeep",
        "PodDisruptionBudget/chatkeep",
    }


def test_with_all_values_everything_is_there() -> None:
    assert rendered(MOST).keys() == {
        "Deployment/chatkeep",
        "HorizontalPodAutoscaler/chatkeep",
        "Ingress/chatkeep",
        "Job/chatkeep-migrate-post",
        "PodDisruptionBudget/chatkeep",
        "Secret/chatkeep-database",
        "Secret/chatkeep-secrets",
        "Service/chatkeep",
    }


@pytest.mark.parametrize("values", [LEAST, MOST], ids=["few", "all"])
def test_pods_are_nobody_special(values: dict[str, Any]) -> None:
    for pod in pods(rendered(values)):
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        # A Service called chatkeep would put its address into CHATKEEP_PORT, and the server would not start.
        assert not pod["enableServiceLinks"]
        for container in (*pod["initContainers"], *pod["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            volumes = {each["name"] for each in pod["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_a_pod_stops_before_it_is_killed_and_is_asked_the_right_things() -> None:
    (pod,) = pods(rendered(LEAST))
    (server,) = pod["containers"]
    told = {each["name"]: each.get("value") for each in server["env"]}
    stops_s = int(server["lifecycle"]["preStop"]["exec"]["command"][1]) + float(told["CHATKEEP_DRAIN_S"])
    assert pod["terminationGracePeriodSeconds"] > stops_s
    paths = {name: server[name]["httpGet"]["path"] for name in server if name.endswith("Probe")}
    assert paths == {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
    (pod, _) = pods(rendered(MOST))
    assert pod["terminationGracePeriodSeconds"] > 45


def test_settings_reach_the_server_as_they_were_written() -> None:
    for pod in pods(rendered(MOST)):
        (container,) = pod["containers"]
        told = {each["name"]: each.get("value") for each in container["env"]}
        assert len(told) == len(container["env"]), "a variable is set twice"
        assert told["CHATKEEP_BODY_BYTES_MAX"] == "10485760"
        assert (told["CHATKEEP_LEASE_S"], told["CHATKEEP_LOG_REQUESTS"]) == ("2.5", "false")
        taken = {name: value for name, value in told.items() if value is not None}
        names = [name for name in Settings.model_fields if f"CHATKEEP_{name.upper()}" in taken]
        Settings.model_validate({name: taken[f"CHATKEEP_{name.upper()}"] for name in names})


def test_the_service_finds_the_servers_and_not_the_job() -> None:
    objects = rendered(MOST)
    wanted = objects["Service/chatkeep"]["spec"]["selector"].items()
    assert wanted <= objects["Deployment/chatkeep"]["spec"]["template"]["metadata"]["labels"].items()
    assert (
        not wanted <= objects["Job/chatkeep-migrate-post"]["spec"]["template"]["metadata"]["labels"].items()
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"secrets": LEAST["secrets"]}, "Say where PostgreSQL is"),
        ({"database": LEAST["database"]}, "All nodes need the same secrets"),
        ({**LEAST, "database": {"url": "sqlite:data"}}, "url"),
        ({**LEAST, "replicas": 2}, "replicas"),
        ({**LEAST, "settings": {"CHATKEEP_PORT": 80}}, "CHATKEEP_PORT"),
        ({**LEAST, "ingress": {"enabled": True}}, "hosts"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], sentence: str) -> None:
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(str(CHART)) as chart, pytest.raises(helm.HelmError, match=sentence):
        chart.render(values, name="chatkeep")


def test_helms_own_linter_has_nothing_to_say() -> None:
    helm = pytest.importorskip("helm_python")
    report = helm.lint(str(CHART), LEAST, strict=True)
    assert (report["errors"], [each for each in report["messages"] if each["severity"] > 1]) == ([], [])
