"""The cluster descriptions have only fields that their readers know, and fit each other, the image and the project."""

from __future__ import annotations

import copy
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from csg.parsing import parse_flags
from tune_spaces.search.options import SearchOptions

ROOT = Path(__file__).parents[3]
CLUSTERS = ROOT / "clusters"
RAY_USER, RAY_GROUP = 1000, 100
"""Of the user ``ray`` in Ray's images, in their published Dockerfile."""

FIELDS: dict[str, set[str]] = {
    "RayJobSpec": {
        *("activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata"),
        *("clusterSelector", "submitterConfig", "managedBy", "deletionStrategy", "entrypoint", "runtimeEnvYAML"),
        *("jobId", "submissionMode", "entrypointResources", "entrypointNumCpus", "entrypointNumGpus"),
        *("ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "suspend"),
    },
    "RayClusterSpec": {
        *("upgradeStrategy", "authOptions", "suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations"),
        *("enableInTreeAutoscaling", "gcsFaultToleranceOptions", "networkPolicy", "headGroupSpec", "rayVersion"),
        "workerGroupSpecs",
    },
    "AuthOptions": {"enableK8sTokenAuth", "secretName", "mode"},
    "HeadGroupSpec": {
        *("template", "headService", "enableIngress", "ingressOptions", "resources", "labels", "rayStartParams"),
        "serviceType",
    },
    "WorkerGroupSpec": {
        *("groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "rayStartParams", "template"),
        *("resources", "labels", "scaleStrategy", "numOfHosts", "suspend"),
    },
    "PodTemplateSpec": {"metadata", "spec"},
    "PodSpec": {
        *("volumes", "initContainers", "containers", "ephemeralContainers", "restartPolicy", "dnsPolicy", "dnsConfig"),
        *("terminationGracePeriodSeconds", "activeDeadlineSeconds", "nodeSelector", "serviceAccountName", "nodeName"),
        *("serviceAccount", "automountServiceAccountToken", "hostNetwork", "hostPID", "hostIPC", "hostUsers"),
        *("shareProcessNamespace", "securityContext", "imagePullSecrets", "hostname", "subdomain", "affinity"),
        *("schedulerName", "tolerations", "hostAliases", "priorityClassName", "priority", "readinessGates", "os"),
        *("runtimeClassName", "enableServiceLinks", "preemptionPolicy", "overhead", "topologySpreadConstraints"),
        *("setHostnameAsFQDN", "schedulingGates", "resourceClaims", "resources"),
    },
    "PodSecurityContext": {
        *("seLinuxOptions", "seLinuxChangePolicy", "windowsOptions", "runAsUser", "runAsGroup", "runAsNonRoot"),
        *("supplementalGroups", "supplementalGroupsPolicy", "fsGroup", "fsGroupChangePolicy", "sysctls"),
        *("seccompProfile", "appArmorProfile"),
    },
    "Container": {
        *("name", "image", "command", "args", "workingDir", "ports", "envFrom", "env", "resources", "resizePolicy"),
        *("restartPolicy", "volumeMounts", "volumeDevices", "livenessProbe", "readinessProbe", "startupProbe"),
        *("lifecycle", "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "securityContext"),
        *("stdin", "stdinOnce", "tty"),
    },
    "ContainerPort": {"name", "hostPort", "containerPort", "protocol", "hostIP"},
    "ResourceRequirements": {"limits", "requests", "claims"},
    "VolumeMount": {
        *("name", "readOnly", "recursiveReadOnly", "mountPath", "subPath", "mountPropagation", "subPathExpr"),
    },
    "Volume": {"name", "persistentVolumeClaim"},
    "PersistentVolumeClaimVolumeSource": {"claimName", "readOnly"},
}
"""By type: of KubeRay's ray.io/v1 and of Kubernetes' core/v1, as published; of a volume only the source in use."""
INSIDE: dict[tuple[str, str], str] = {
    ("RayJobSpec", "rayClusterSpec"): "RayClusterSpec",
    ("RayClusterSpec", "authOptions"): "AuthOptions",
    ("RayClusterSpec", "headGroupSpec"): "HeadGroupSpec",
    ("RayClusterSpec", "workerGroupSpecs"): "WorkerGroupSpec",
    ("HeadGroupSpec", "template"): "PodTemplateSpec",
    ("WorkerGroupSpec", "template"): "PodTemplateSpec",
    ("PodTemplateSpec", "spec"): "PodSpec",
    ("PodSpec", "securityContext"): "PodSecurityContext",
    ("PodSpec", "containers"): "Container",
    ("PodSpec", "volumes"): "Volume",
    ("Container", "ports"): "ContainerPort",
    ("Container", "resources"): "ResourceRequirements",
    ("Container", "volumeMounts"): "VolumeMount",
    ("Volume", "persistentVolumeClaim"): "PersistentVolumeClaimVolumeSource",
}
"""The type of a field of a type, or of the members of its list."""


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CLUSTERS / name).read_text())
    return loaded


def unknown_fields(value: Any, kind: str, where: str) -> list[str]:
    """Name the fields, at any depth, that their type does not have."""
    if isinstance(value, list):
        return [found for place, each in enumerate(value) for found in unknown_fields(each, kind, f"{where}[{place}]")]
    found = [f"{where}.{name}" for name in value if name not in FIELDS[kind]]
    for name, inner in value.items():
        if (kind, name) in INSIDE:
            found += unknown_fields(inner, INSIDE[kind, name], f"{where}.{name}")
    return found


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    templates = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    return [template["spec"] for template in templates]


def test_the_rayjob_has_the_fields_of_the_operator_and_of_kubernetes() -> None:
    job = read("kubernetes.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert not unknown_fields(job["spec"], "RayJobSpec", "spec")
    misspelt = copy.deepcopy(job["spec"])
    misspelt["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["volumemounts"] = []
    assert unknown_fields(misspelt, "RayJobSpec", "spec") == [
        "spec.rayClusterSpec.workerGroupSpecs[0].template.spec.containers[0].volumemounts"
    ]


def test_every_pod_runs_one_image_and_can_write_to_the_runs() -> None:
    job = read("kubernetes.yaml")
    containers = [container for pod in pods(job) for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    for pod in pods(job):
        assert pod["securityContext"] == {"runAsUser": RAY_USER, "runAsGroup": RAY_GROUP, "fsGroup": RAY_GROUP}
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    output = re.search(r"--train\.output (\S+)", job["spec"]["entrypoint"])
    assert output is not None
    assert output[1] in {mount["mountPath"] for container in containers for mount in container["volumeMounts"]}


def test_ray_is_the_installed_version_everywhere() -> None:
    image = f"rayproject/ray:{version('ray')}-py311-cpu"
    assert read("kubernetes.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")
    assert (CLUSTERS / "Dockerfile").read_text().startswith(f"FROM {image}\n")
    assert read("aws.yaml")["docker"]["image"] == image
    assert f"ray=={version('ray')}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_authentication_is_decided_and_not_left_to_what_lies_about() -> None:
    assert read("kubernetes.yaml")["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    launched = read("aws.yaml")
    assert "--env RAY_AUTH_MODE=token" in launched["docker"]["run_options"]
    assert launched["file_mounts"]["/home/ray/.ray"] == "~/.ray", "where `ray get-auth-token` leaves the token"


def test_the_launcher_takes_its_file() -> None:
    described = prepare_config(read("aws.yaml"))
    for kind in described["available_node_types"].values():
        kind.setdefault("resources", {"CPU": 4})  # otherwise the launcher asks AWS what the instance type has
    validate_config(described)
    assert described["head_node_type"] in described["available_node_types"]
    for kind in described["available_node_types"].values():
        assert kind["node_config"]["ImageId"] == "IMAGE", "Ray's own default is of 2018"
        assert kind["node_config"]["BlockDeviceMappings"], "an image's default disk does not hold torch"


def test_what_all_machines_share_is_mounted_outside_the_container_and_seen_inside() -> None:
    launched = read("aws.yaml")
    assert "--volume /shared:/shared" in launched["docker"]["run_options"]
    outside = " && ".join(launched["initialization_commands"])
    assert re.search(r"mount .*FILE_SYSTEM:/ /shared && sudo chown 1000:100 /shared$", outside)
    assert not any("/shared" in command for command in launched["setup_commands"])


@pytest.mark.parametrize("name", ["aws.yaml", "kubernetes.yaml"])
def test_the_commands_given_have_flags_that_exist(name: str) -> None:
    text = re.sub(r"\\\n#? *", "", (CLUSTERS / name).read_text())
    commands = re.findall(r"visda_search\.py ([^'\n#]*)", text)
    assert commands
    for command in commands:
        config = parse_flags(SearchOptions, command.split(), prog="visda_search.py", description="").config
        assert config.train.wait_minutes > 0, "machines may still be starting"


def test_what_git_ignores_stays_out_of_the_image() -> None:
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert left_out == [
        ".git",
        *(name[1:].rstrip("/") if name[0] == "/" else f"**/{name.rstrip('/')}" for name in ignored),
    ]
