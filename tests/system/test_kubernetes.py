"""The Kubernetes example is valid by the schemas of Kubernetes, of which a package has copies.

The copies take 100 MB, so only `make system` installs them.
"""

import copy
from typing import Any

import kubernetes_validate
import pytest
import yaml

from oktawatch import shipped

MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all(shipped.read("kubernetes/oktawatch.yaml")))


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_a_manifest_is_valid(manifest: dict[str, Any], version: str) -> None:
    """Each manifest is valid, without unknown keys."""
    kubernetes_validate.validate(manifest, version, strict=True)


def test_an_unknown_key_is_found() -> None:
    """The check above sees a key that Kubernetes does not know."""
    deployment = copy.deepcopy(next(manifest for manifest in MANIFESTS if manifest["kind"] == "Deployment"))
    (daemon,) = deployment["spec"]["template"]["spec"]["containers"]
    daemon["livenesProbe"] = daemon.pop("livenessProbe")

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.37", strict=True)
