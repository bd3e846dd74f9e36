"""docker-compose.yml keeps the rules that it states: who runs with which rights, what is open, where secrets stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import label_studio
import pytest
import yaml

from loop.settings.settings import SECRETS, variables
from ner.containers import HOLD
from tests.deployment.compose_file import (
    COMPOSE,
    DOCKERFILE,
    ENV_EXAMPLE,
    ROOT,
    VARIABLE,
    compose,
    env_example,
    image_steps,
    is_one_shot,
    mounts,
    services,
    stages,
    target_of,
    with_defaults,
)

SERVICES = services()
LASTING = {name: service for name, service in SERVICES.items() if not is_one_shot(service)}
every_service = pytest.mark.parametrize("name", SERVICES)
every_lasting_service = pytest.mark.parametrize("name", LASTING)
needs_docker_compose = pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="needs Debian's package docker-compose"
)
# A service sees these volumes of secrets and no others.
SECRETS_OF = {
    "secrets": {"secrets-kept", "secrets-postgres", "secrets-label-studio", "secrets-backend", "secrets-loop"},
    "postgres": {"secrets-postgres"},
    "label-studio": {"secrets-label-studio"},
    "backend": {"secrets-backend"},
    "init": {"secrets-loop"},
    "loop": {"secrets-loop"},
}
ONE_CAPABILITY = {"proxy": ["NET_BIND_SERVICE"]}
# What `init` reads beside the settings of the loop.
OF_INIT = {"EXAMPLE"}


def parsed(*words: str) -> dict[str, Any]:
    command = ["docker-compose", "--file", str(COMPOSE), *words, "config"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return dict(yaml.safe_load(done.stdout))


# A real parser


@needs_docker_compose
def test_the_file_is_valid_before_and_after_the_env_file_is_copied() -> None:
    bare, copied = parsed(), parsed("--env-file", str(ENV_EXAMPLE))
    assert copied["services"].keys() == SERVICES.keys()
    assert bare == copied


def test_tls_and_mlflow_are_there_for_those_who_ask() -> None:
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "mlflow": ["mlflow"],
        "proxy": ["proxy"],
    }


@needs_docker_compose
def test_another_example_is_one_variable(tmp_path: Path) -> None:
    chosen = tmp_path / "env"
    chosen.write_text(ENV_EXAMPLE.read_text().replace("EXAMPLE=it_support", "EXAMPLE=kitchen"))
    found = parsed("--env-file", str(chosen))["services"]
    assert found["init"]["environment"]["EXAMPLE"] == "kitchen"
    assert found["init"]["environment"]["LOOP_HOME"] == found["loop"]["environment"]["LOOP_HOME"] == "/project/kitchen"
    assert (ROOT / "examples" / "kitchen" / "name.txt").is_file()


# Rights


@every_service
def test_a_service_runs_without_rights(name: str) -> None:
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert user.isdigit() and user != "0" and group.isdigit()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == ONE_CAPABILITY.get(name, [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "devices", "network_mode", "pid", "ipc", "userns_mode"}


@every_service
def test_a_service_cannot_use_up_the_machine(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", with_defaults(service["mem_limit"]))
    assert service["pids_limit"] > 0
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@every_service
def test_a_service_writes_only_to_its_named_volumes_and_to_memory(name: str) -> None:
    service = SERVICES[name]
    assert "/tmp" in service["tmpfs"]
    for source, path, read_only in mounts(service):
        assert path.startswith("/") and path != "/var/run/docker.sock"
        assert source in compose()["volumes"] or (read_only and (ROOT / source).is_file())


def test_only_label_studio_is_open_and_on_this_machine_alone() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service and "profiles" not in service} == {
        "label-studio"
    }
    assert [with_defaults(port) for port in SERVICES["label-studio"]["ports"]] == ["127.0.0.1:8080:8080"]


@every_service
def test_an_image_is_pinned(name: str) -> None:
    tag = with_defaults(SERVICES[name]["image"]).rpartition(":")[2]
    assert re.search(r"\d", tag) and "latest" not in tag


def test_label_studio_is_of_the_version_that_the_tests_run() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    version = SERVICES["label-studio"]["image"].rpartition(":")[2]
    assert extras["server"] == [f"label-studio=={version}"]


# Order and health


@every_lasting_service
def test_a_lasting_service_comes_back_and_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check.keys() >= {"interval", "timeout", "retries"}


def test_a_service_waits_for_what_it_needs() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if is_one_shot(SERVICES[needed]) else "service_healthy"
            assert how == {"condition": wanted}, f"{name} waits for {needed}"


def test_everything_but_the_secrets_waits_for_the_secrets() -> None:
    for name in SERVICES:
        assert name == "secrets" or "secrets" in _awaited(name)


def _awaited(name: str) -> set[str]:
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*(_awaited(one) for one in direct))


def test_a_container_has_a_name_of_its_own() -> None:
    """The store tells hosts apart by their names, and `docker compose run loop ...` starts a second container."""
    assert not [name for name, service in SERVICES.items() if "hostname" in service]


@pytest.mark.parametrize("host", ["mlflow:5000", "localhost:5000", "127.0.0.1:5000", "localhost:5500"])
def test_mlflows_page_answers_wherever_it_may_listen_on_this_machine(host: str) -> None:
    """MLFLOW_LISTEN may name another port, which the browser sends in the Host header. MLflow matches by fnmatch."""
    command = SERVICES["mlflow"]["command"]
    allowed = command[command.index("--allowed-hosts") + 1].split(",")
    assert any(fnmatch(host, pattern) for pattern in allowed)


# Secrets


@every_service
def test_no_secret_stands_in_the_environment(name: str) -> None:
    for variable in SERVICES[name].get("environment", {}):
        is_secret = variable in SECRETS or re.search("PASS|TOKEN$|SECRET|API_KEY", variable)
        allowed = variable in ("BASIC_AUTH_USER", "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN")
        assert not is_secret or allowed or variable.endswith("_FILE"), variable


@every_service
def test_a_service_sees_only_its_own_secrets(name: str) -> None:
    seen = {source: read_only for source, _, read_only in mounts(SERVICES[name]) if source.startswith("secrets-")}
    assert seen.keys() == SECRETS_OF.get(name, set())
    assert name == "secrets" or all(seen.values())


@every_service
def test_the_file_of_a_secret_is_one_that_is_made(name: str) -> None:
    from loop.up.secret_volumes import PLACE, Secrets, files_of

    made = {str(PLACE / path) for path in files_of(Secrets(*["0"] * 6))}
    variables_of_files = ("_FILE", "INJECT_SOURCES")
    named = {
        value
        for variable, value in SERVICES[name].get("environment", {}).items()
        if variable.endswith(variables_of_files) and value.startswith("/run/")
    }
    assert named <= made


def test_the_database_scripts_secrets_are_ones_that_are_made() -> None:
    from loop.up.secret_volumes import Secrets, files_of

    script = (ROOT / "compose" / "databases.sh").read_text("utf-8")
    named = set(re.findall(r"^make_database \w+ (\w+)$", script, re.MULTILINE))
    assert {f"secrets-postgres/{name}" for name in named} < files_of(Secrets(*["0"] * 6)).keys()
    assert len(named) == 2


# Commands and variables


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if target_of(service)])
def test_a_command_exists_in_its_image(name: str) -> None:
    packages = _packages(target_of(SERVICES[name]) or "")
    program, *words = SERVICES[name]["command"]
    if program == "python":
        module = words[words.index("-m") + 1]
        found = find_spec(module)
        assert found is not None
        assert found.submodule_search_locations is None or find_spec(f"{module}.__main__") is not None
    else:
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
        module = scripts[program].partition(":")[0]
    assert module.split(".")[0] in packages


def _packages(target: str) -> set[str]:
    """The packages of this project that an image holds, by the COPY lines of its stage and of what it copies from."""
    found: set[str] = set()
    for step in image_steps(target):
        if step["instruction"] == "COPY":
            words = step["value"].split()
            source = re.match(r"--from=(\S+)", words[0])
            found |= _packages(source[1]) if source and source[1] in stages() else {words[0].rstrip("/")}
    return found


def test_label_studios_command_is_an_entry_point_of_its_package() -> None:
    assert SERVICES["label-studio"]["command"][0] in {one.name for one in entry_points(group="console_scripts")}


def test_every_variable_of_the_loop_is_a_setting() -> None:
    known = {*variables(), *(f"{name}_FILE" for name in SECRETS), "LOOP_HOME", HOLD}
    assert SERVICES["loop"]["environment"].keys() <= known
    assert SERVICES["init"]["environment"].keys() <= known | OF_INIT


def test_every_variable_of_the_backend_is_read_by_the_backend() -> None:
    from ml_backend import settings

    read = set(re.findall(r'"([A-Z_]+)"', Path(settings.__file__).read_text("utf-8")))
    assert SERVICES["backend"]["environment"].keys() <= read | {HOLD, *(f"{name}_FILE" for name in settings.SECRETS)}


def test_every_variable_of_label_studio_is_read_by_label_studio() -> None:
    package = Path(label_studio.__file__).parent
    places = [*(package / "core" / "settings").glob("*.py"), package / "server.py"]
    source = "\n".join(path.read_text("utf-8") for path in places)
    # The entry point of the image reads the last one.
    for name in SERVICES["label-studio"]["environment"].keys() - {"ENV_INJECT_SOURCES"}:
        assert re.search(rf"['\"](LABEL_STUDIO_)?{name.removeprefix('LABEL_STUDIO_')}['\"]", source), name


def test_every_variable_of_the_env_file_is_used_and_the_other_way_round() -> None:
    used = {found[1]: found[2] for found in VARIABLE.finditer(COMPOSE.read_text("utf-8"))}
    assert used.keys() == env_example().keys()
    assert {name: default or "" for name, default in used.items()} == env_example()


def test_every_variable_of_the_env_file_is_explained() -> None:
    lines = ENV_EXAMPLE.read_text("utf-8").split("\n\n")
    for block in lines[1:]:
        assert block.startswith("# "), block


# Addresses


def test_label_studio_may_call_the_backend_and_be_used_behind_its_public_address() -> None:
    environment = {key: with_defaults(value) for key, value in SERVICES["label-studio"]["environment"].items()}
    assert environment["LABEL_STUDIO_ML_BLOCK_LOCAL_IP"] == "false"
    assert environment["LABEL_STUDIO_SSRF_PROTECTION_ENABLED"] == "false"
    assert environment["LABEL_STUDIO_HOST"] == "http://localhost:8080"
    # Behind TLS, Django refuses the log-in form of an origin that it does not trust.
    assert environment["CSRF_TRUSTED_ORIGINS"] == environment["LABEL_STUDIO_HOST"]


def test_the_backends_address_is_one_that_label_studio_reaches() -> None:
    from loop.up.first_project import BACKEND_URL

    aliases = SERVICES["backend"]["networks"]["default"]["aliases"]
    port = SERVICES["backend"]["environment"]["PORT"]
    assert f"http://{aliases[0]}:{port}" == BACKEND_URL


# The Dockerfile


@pytest.mark.parametrize("target", ["serve", "loop"])
def test_an_image_runs_as_a_user_without_rights_and_by_a_list(target: str) -> None:
    steps = image_steps(target)
    users = [step["value"] for step in steps if step["instruction"] == "USER"]
    assert users[-1] == next(service["user"] for service in SERVICES.values() if target_of(service) == target)
    command = [step["value"] for step in steps if step["instruction"] == "CMD"][-1]
    assert isinstance(json.loads(command), list)
    assert not [step for step in steps if step["instruction"] == "ADD"]


@pytest.mark.parametrize("target", ["serve", "loop"])
def test_an_image_keeps_no_lists_of_packages_and_no_installer(target: str) -> None:
    for step in image_steps(target):
        if step["instruction"] == "RUN" and "apt-get install" in step["value"]:
            assert "--no-install-recommends" in step["value"] and "rm -rf /var/lib/apt/lists/*" in step["value"]
            assert not re.search(r"gcc|g\+\+|build-essential|clang|-dev\b|curl|wget|sudo|pip\b", step["value"])


def test_pip_leaves_no_cache_and_no_address_of_an_index_stands_in_the_dockerfile() -> None:
    text = DOCKERFILE.read_text("utf-8")
    for line in re.findall(r"pip install[^\n]*", text):
        assert "--no-cache-dir" in line, line
    assert "://" not in text.replace("s3://", "").replace("http://127.0.0.1", "")


@pytest.mark.parametrize("target", ["serve", "loop"])
def test_a_volumes_folder_belongs_to_the_user_of_the_image(target: str) -> None:
    """A new named volume takes the owner of the folder that it is mounted on."""
    text = " ".join(step["value"] for step in image_steps(target) if step["instruction"] == "RUN")
    made = set(re.search(r"install -d -o 10001 -g 10001 ([^;&]*)", text)[1].split())  # type: ignore[index]
    paths = {path for one in SERVICES.values() if target_of(one) == target for _, path, _ in mounts(one)}
    assert paths <= made


def test_the_builder_is_sent_what_the_dockerfile_copies_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    assert {word for words in copies for word in words.split()} == sent
    assert "*" in lines and all((ROOT / name).exists() for name in sent)
