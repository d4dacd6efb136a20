"""The Containerfile and the Kubernetes example fit the program: commands, variables, ports and files.

tests/system/test_kubernetes.py checks the example against the schemas of Kubernetes.
"""

import re
import shlex
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

from oktawatch import config, shipped
from oktawatch.cli.main import main
from tests.support.containerfile import TEXT, image_variables, instructions

ROOT = Path(__file__).parents[2]
MANIFESTS = {
    manifest["kind"]: manifest for manifest in yaml.safe_load_all(shipped.read("kubernetes/oktawatch.yaml"))
}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]


def settings_with(folder: Path, text: str, environ: dict[str, str]) -> config.Settings:
    """Load a configuration with these variables and a token among the credentials."""
    (folder / "okta.token").write_text("00invented", "utf-8")
    file = folder / "oktawatch.toml"
    file.write_text(text, "utf-8")
    ours = {name: value for name, value in environ.items() if name.startswith("OKTAWATCH__")}
    return config.load(file, environ=ours | {"CREDENTIALS_DIRECTORY": str(folder)})


def test_the_image_is_built_from_the_wheel(tmp_path: Path) -> None:
    """The build copies the wheel by a pattern that fits its name, and the pinned requirements."""
    copied = re.findall(r"^COPY (.*) /build/$", TEXT, re.MULTILINE)
    assert [words.split() for words in copied] == [["requirements.txt", "oktawatch-*.whl"]]
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert fnmatchcase(Path(wheel).name, "oktawatch-*.whl")
    assert (ROOT / "requirements.txt").is_file()


def test_the_image_runs_the_daemon_as_an_ordinary_user(capsys: pytest.CaptureFixture[str]) -> None:
    """The user is numeric, as Kubernetes needs it to prove that it is not root, and the command exists."""
    assert instructions("USER") == ["10001"]
    entrypoint, command = (
        yaml.safe_load(instructions("ENTRYPOINT")[0]),
        yaml.safe_load(instructions("CMD")[-1]),
    )
    assert (entrypoint, command) == (["oktawatch"], ["run"])
    assert main([*command, "--help"]) == 0
    assert "oktawatch run" in capsys.readouterr().out


def test_the_image_writes_only_to_its_volume(tmp_path: Path) -> None:
    """The variables are valid settings: the database is on the volume, and the exposed port is listened on."""
    settings = settings_with(
        tmp_path,
        shipped.read("oktawatch.example.toml").replace("acme.token", "okta.token"),
        image_variables(),
    )
    (volume,) = yaml.safe_load(instructions("VOLUME")[0])
    assert settings.database.url.get_secret_value().startswith(f"sqlite:///{volume}/")
    assert instructions("WORKDIR") == [volume]
    (port,) = instructions("EXPOSE")
    assert settings.service.listen == f"0.0.0.0:{port}"
    health = instructions("HEALTHCHECK")[0]
    assert f"http://127.0.0.1:{port}/healthz" in health
    compile(yaml.safe_load(health.partition("CMD ")[2])[2], "health check", "exec")


def test_the_documented_run_fits_the_image() -> None:
    """The comment's command mounts the configuration, the token and the volume where the image expects them."""
    comment = "\n".join(line.removeprefix("#   ") for line in TEXT.splitlines() if line.startswith("#   "))
    run = next(line for line in comment.replace("\\\n", " ").splitlines() if line.startswith("podman run"))
    words = shlex.split(run)
    variables = image_variables()
    assert f"./oktawatch.toml:{variables['OKTAWATCH_CONFIG']}:ro" in words
    assert "oktawatch:/var/lib/oktawatch" in words
    assert {"--read-only", "--cap-drop=all"} <= set(words)
    assert f"okta.token,uid={instructions('USER')[0]},mode=0400" in words


def containers() -> list[dict[str, Any]]:
    """Return all containers of the pod, the first one included."""
    return [*POD["initContainers"], *POD["containers"]]


def resolved(container: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables of a container: from the image, the pod and the secret."""
    found = image_variables()
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            assert source["secretKeyRef"]["name"] == MANIFESTS["Secret"]["metadata"]["name"]
            found[variable["name"]] = MANIFESTS["Secret"]["stringData"][source["secretKeyRef"]["key"]]
        else:
            found[variable["name"]] = variable.get("value", "a-pod")
    return found


@pytest.mark.parametrize("container", containers(), ids=lambda container: container["name"])
def test_a_container_has_a_command_and_settings(
    container: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The container's command exists, and its settings are valid and use Postgres."""
    assert main([*container["args"], "--help"]) == 0
    assert capsys.readouterr().out
    settings = settings_with(tmp_path, MANIFESTS["ConfigMap"]["data"]["oktawatch.toml"], resolved(container))
    assert settings.database.url.get_secret_value().startswith("postgresql+psycopg://oktawatch")
    assert settings.orgs[0].token_file == tmp_path / "okta.token"


@pytest.mark.parametrize("container", containers(), ids=lambda container: container["name"])
def test_a_container_is_restricted(container: dict[str, Any]) -> None:
    """A container has a read-only root, no privileges, and only mounts of existing volumes."""
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) <= {volume["name"] for volume in POD["volumes"]}
    variables = resolved(container)
    assert str(Path(variables["OKTAWATCH_CONFIG"]).parent) in mounts
    assert instructions("VOLUME")[0].strip('[]"') in mounts
    assert POD["securityContext"]["runAsUser"] == int(instructions("USER")[0])


def test_the_daemon_is_probed_where_it_listens(tmp_path: Path) -> None:
    """Both probes use the port that the daemon listens on, and the token is among its credentials."""
    (daemon,) = POD["containers"]
    variables = resolved(daemon)
    settings = settings_with(tmp_path, MANIFESTS["ConfigMap"]["data"]["oktawatch.toml"], variables)
    (port,) = daemon["ports"]
    assert settings.service.listen == f"0.0.0.0:{port['containerPort']}"
    probes = [daemon[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness")]
    assert probes == [{"path": path, "port": port["name"]} for path in ("/healthz", "/readyz")]
    credentials = next(volume for volume in POD["volumes"] if volume["name"] == "credentials")["secret"]
    assert {item["path"] for item in credentials["items"]} == {"okta.token"}
    assert {item["key"] for item in credentials["items"]} <= MANIFESTS["Secret"]["stringData"].keys()
    mounts = {mount["name"]: mount["mountPath"] for mount in daemon["volumeMounts"]}
    assert variables["CREDENTIALS_DIRECTORY"] == mounts["credentials"]
    assert settings.service.instance == "a-pod"


def test_two_replicas_are_selected_by_their_labels() -> None:
    """The deployment, the service and the disruption budget select the pods of the template."""
    spec = MANIFESTS["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["replicas"] == 2
    assert spec["selector"]["matchLabels"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels


def test_both_use_the_image_of_this_version() -> None:
    """The example's images have the version of this program."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert {container["image"].rpartition(":")[2] for container in containers()} == {version}
