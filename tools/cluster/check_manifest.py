# SPDX-License-Identifier: MIT
"""Holds kubernetes.yaml to the part of batch/v1 Job that it uses: every field known, of its type,
and what Kubernetes asks of an indexed Job besides.

Usage: check_manifest.py [FILE]. Wants Debian's python3-yaml and python3-jsonschema."""

import pathlib
import sys

import jsonschema
import yaml

TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$"}


def thing(required=(), **fields):
    """An object with these fields and no others."""
    return {"type": "object", "properties": fields, "required": list(required),
            "additionalProperties": False}


def some(item):
    return {"type": "array", "items": item, "minItems": 1}


def amounts():
    return thing(cpu=QUANTITY, memory=QUANTITY)


CONTAINER_SECURITY = thing(allowPrivilegeEscalation={"const": False},
                           readOnlyRootFilesystem={"type": "boolean"},
                           capabilities=thing(drop=some(TEXT), add=some(TEXT)))
POD_SECURITY = thing(runAsNonRoot={"const": True}, runAsUser=COUNT, fsGroup=COUNT,
                     seccompProfile=thing(["type"], type={"enum": ["RuntimeDefault"]}))
CONTAINER = thing(["name", "image", "command", "resources", "volumeMounts"], name=TEXT, image=TEXT,
                  command=some(TEXT), resources=thing(requests=amounts(), limits=amounts()),
                  securityContext=CONTAINER_SECURITY,
                  env=some(thing(["name", "value"], name=TEXT, value=TEXT)),
                  volumeMounts=some(thing(["name", "mountPath"], name=TEXT, mountPath=TEXT,
                                          readOnly={"type": "boolean"})))
VOLUME = {"oneOf": [
    thing(["name", "persistentVolumeClaim"], name=TEXT,
          persistentVolumeClaim=thing(["claimName"], claimName=TEXT, readOnly={"type": "boolean"})),
    thing(["name", "emptyDir"], name=TEXT, emptyDir=thing())]}
CODES = thing(["operator", "values"], containerName=TEXT, operator={"enum": ["In", "NotIn"]},
              values=some({"type": "integer", "minimum": 1, "maximum": 255}))
CONDITION = thing(["type", "status"], type=TEXT, status={"enum": ["True", "False", "Unknown"]})
RULE = {"oneOf": [
    thing(["action", "onExitCodes"], action={"enum": ["FailJob", "Ignore", "Count"]},
          onExitCodes=CODES),
    thing(["action", "onPodConditions"], action={"enum": ["FailJob", "Ignore", "Count"]},
          onPodConditions=some(CONDITION))]}
POD = thing(["restartPolicy", "containers", "volumes"], restartPolicy={"const": "Never"},
            terminationGracePeriodSeconds=COUNT, securityContext=POD_SECURITY,
            containers=some(CONTAINER), volumes=some(VOLUME))
SPEC = thing(["completionMode", "completions", "parallelism", "template"],
             completionMode={"const": "Indexed"}, completions=COUNT, parallelism=COUNT,
             backoffLimit=COUNT, podFailurePolicy=thing(["rules"], rules=some(RULE)),
             template=thing(["spec"], spec=POD))
JOB = thing(["apiVersion", "kind", "metadata", "spec"], apiVersion={"const": "batch/v1"},
            kind={"const": "Job"}, spec=SPEC,
            metadata=thing(["name"], name={"type": "string", "pattern": "^[a-z0-9-]{1,63}$"}))


def main():
    default = pathlib.Path(__file__).with_name("kubernetes.yaml")
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    job = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(JOB)
    jsonschema.validate(job, JOB)
    pod = job["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["containers"]:
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == volumes, f"volumes {volumes} and what is mounted, {mounted}, differ"
        slices = f"/{job['spec']['completions']}\""
        assert any(slices in word for word in container["command"]), \
            "the command's number of shards is not the number of completions"
    print(f"{path}: an indexed Job of {job['spec']['completions']} slices")


if __name__ == "__main__":
    main()
