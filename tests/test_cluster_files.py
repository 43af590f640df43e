"""The cluster descriptions have only fields that their readers know (KubeRay's ray.io/v1 types, Ray's own schema)."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
import yaml

CLUSTERS = Path(__file__).parents[1] / "clusters"
JOB_FIELDS = {
    *("activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata", "clusterSelector"),
    *("submitterConfig", "managedBy", "deletionStrategy", "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode"),
    *("entrypointResources", "entrypointNumCpus", "entrypointNumGpus", "ttlSecondsAfterFinished"),
    *("shutdownAfterJobFinishes", "suspend"),
}
"""Of RayJobSpec, in the operator's published types."""
HEAD_FIELDS = {"template", "headService", "enableIngress", "rayStartParams", "serviceType"}
WORKER_FIELDS = {
    *("groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "rayStartParams", "template"),
    *("scaleStrategy", "numOfHosts", "suspend"),
}


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CLUSTERS / name).read_text())
    return loaded


def test_the_rayjob_has_the_operators_fields() -> None:
    job = read("kubernetes.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) <= JOB_FIELDS
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["rayVersion"] == version("ray")
    assert set(cluster["headGroupSpec"]) <= HEAD_FIELDS
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= WORKER_FIELDS
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] == cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert f"ray:{version('ray')}-py311" in (CLUSTERS / "Dockerfile").read_text()


def test_the_launchers_file_has_rays_own_fields() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    described = read("aws.yaml")
    assert set(described) <= set(schema["properties"])
    assert set(schema["required"]) <= set(described)
    node = schema["properties"]["available_node_types"]["patternProperties"][".*"]["properties"]
    for kind in described["available_node_types"].values():
        assert set(kind) <= set(node)
