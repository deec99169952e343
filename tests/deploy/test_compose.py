"""compose.yaml, the Dockerfile and the files they name belong together. Nothing is built or started: no Docker here."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with schemathesis, without types

from chatkeep.config import Settings
from chatkeep.services import keyring
from tests.deploy.dockerfile import DEPLOY, copied, stages

ROOT = DEPLOY.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
NODES = {name: each for name, each in SERVICES.items() if name.startswith("chatkeep-")}

NO_SETTINGS = frozenset({"CHATKEEP_DATABASE_PASSWORD"})
"""Variables of compose.yaml and its scripts alone."""


def settings() -> set[str]:
    return {f"CHATKEEP_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize(
    "path",
    [
        "compose.yaml",
        ".env.example",
        *(str(each.relative_to(ROOT)) for each in sorted(DEPLOY.rglob("*")) if each.is_file()),
    ],
)
def test_every_setting_that_is_named_is_one(path: str) -> None:
    named = set(re.findall(r"\bCHATKEEP_[A-Z0-9_]*[A-Z0-9]\b", (ROOT / path).read_text()))
    known = settings() | NO_SETTINGS | {"CHATKEEP_KEY"}
    assert {name for name in named if not name.startswith("CHATKEEP_PROVIDERS__")} <= known


def test_the_image_is_built_from_what_is_there_and_let_through() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert rules[0] == "*"
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}
    assert copied(), "the Dockerfile copies nothing"
    for source in copied():
        assert (ROOT / source).exists(), source
        assert source in let_through, f".dockerignore keeps {source} from the builder"
    assert let_through <= set(copied()), "more is let through than is copied"


def test_what_is_copied_is_enough_to_build_the_package(tmp_path: Path) -> None:
    for source in copied():
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=ignored)
        else:
            shutil.copy(ROOT / source, target)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").iterdir()
    inside = set(zipfile.ZipFile(wheel).namelist())
    sources = [
        each for each in (ROOT / "src").rglob("*") if each.is_file() and "__pycache__" not in each.parts
    ]
    missing = {str(each.relative_to(ROOT / "src")) for each in sources} - inside
    assert not missing, "the wheel has not all of the package"


def test_everything_is_installed_with_hashes() -> None:
    installs = [step.said for step in stages()[0] if step.name == "RUN" and "pip install" in step.said]
    assert ["--require-hashes" in said or "--no-deps" in said for said in installs] == [True, True]
    assert not [said for said in installs if "://" in said]


def test_the_server_in_the_image_is_nobody_special() -> None:
    steps = {step.name: step.said for step in stages()[-1]}
    assert steps["USER"] == "10001:10001"
    assert steps["STOPSIGNAL"] == "SIGTERM"
    assert (steps["ENTRYPOINT"], steps["CMD"]) == ('["chatkeep"]', '["serve"]')
    assert "/health" in steps["HEALTHCHECK"]
    names = [step.name for step in stages()[-1]]
    assert names.index("USER") > max(at for at, name in enumerate(names) if name in ("RUN", "COPY"))


def test_its_health_check_tells_a_server_from_none(unused_tcp_port: int) -> None:
    said = next(step.said for step in stages()[-1] if step.name == "HEALTHCHECK")
    command = yaml.safe_load(said.partition(" CMD ")[2])
    compile(command[2], "HEALTHCHECK", "exec")
    environment = {"CHATKEEP_PORT": str(unused_tcp_port), "PATH": ""}
    done = subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, check=False)
    assert done.returncode != 0
    assert b"Connection refused" in done.stderr


def test_files_that_are_mounted_are_there() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), f"{name}: {mount}"
                assert mount.endswith(":ro"), f"{name}: {mount}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {mount}"


def test_only_the_balancer_is_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["balancer"]
    assert all(port.startswith("127.0.0.1:") for port in published["balancer"])


def test_passwords_come_from_the_env_file_and_are_asked_for() -> None:
    text = (ROOT / "compose.yaml").read_text()
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    asked = dict(re.findall(r"\$\{(\w+)(:[?-])", text))
    assert asked.keys() == example.keys()
    secret = {name for name in asked if "PASSWORD" in name}
    assert {asked[name] for name in secret} == {":?"}, "a password must be given"
    assert {example[name] for name in secret} == {""}, "a default password is none"
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert [name for name in (".env", ".env.example") if is_ignored(name, ignored)] == [".env"]


def is_ignored(name: str, rules: list[str]) -> bool:
    matching = [rule for rule in rules if fnmatch.fnmatch(name, rule.removeprefix("!"))]
    return bool(matching) and not matching[-1].startswith("!")


def test_nodes_are_alike_and_stop_before_they_are_killed() -> None:
    assert len(NODES) == 2
    (environment,) = {str(sorted(each["environment"].items())) for each in NODES.values()}
    assert "CHATKEEP_DATABASE_URL" in environment
    for each in NODES.values():
        assert each["read_only"]
        assert each["cap_drop"] == ["ALL"]
        assert int(each["stop_grace_period"].removesuffix("s")) > float(
            each["environment"]["CHATKEEP_DRAIN_S"]
        )
        assert f"secrets:{each['environment']['CHATKEEP_SECRETS']}" in each["volumes"]
    assert any(f" {NODES['chatkeep-1']['environment']['CHATKEEP_SECRETS']}" in s.said for s in stages()[-1])


def test_who_is_believed_about_addresses_is_the_balancers_network() -> None:
    (subnet,) = (each["subnet"] for each in COMPOSE["networks"]["default"]["ipam"]["config"])
    for each in NODES.values():
        assert each["environment"]["CHATKEEP_TRUSTED_PROXIES"] == subnet


def test_the_balancer_knows_the_nodes_and_lets_streams_through() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    assert re.findall(r"server ([\w-]+):8000", text) == list(NODES)
    assert "proxy_buffering off;" in text
    silence_s = Settings.model_fields["stream_age_s"].default
    (hours,) = re.findall(r"proxy_read_timeout (\d+)h;", text)
    assert int(hours) * 3600 > silence_s
    (mebibytes,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(mebibytes) * 1024 * 1024 == Settings.model_fields["body_bytes_max"].default


def test_the_scripts_are_shell() -> None:
    for script in (DEPLOY / "postgres").iterdir():
        subprocess.run(["sh", "-n", str(script)], check=True)
        assert script.stat().st_mode & 0o111, "PostgreSQL's image would read it into its own shell"


def test_the_manual_makes_secrets_that_the_server_takes(tmp_path: Path) -> None:
    page = (DEPLOY / "README.md").read_text()
    (block,) = re.findall(r"^(umask 077\n.*?)^kubectl", page, re.MULTILINE | re.DOTALL)
    subprocess.run(["sh", "-ec", block], cwd=tmp_path, check=True, capture_output=True)

    class NoEntropy:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"something was missing: {name}")

    made = keyring.open_keyring(tmp_path, NoEntropy())
    assert made.key_id
    assert sorted(each.name for each in tmp_path.iterdir()) == ["pepper", "session.key", "signing.pem"]
