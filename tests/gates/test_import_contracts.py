"""Law 1: the import contracts of pyproject.toml are seen to fail, each on a skeleton with one bad import."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = (  # noqa: SIM905 - the list of literals would be a page long
    "chatkeep/__init__ chatkeep/__main__ chatkeep/wiring chatkeep/config chatkeep/ports chatkeep/cli/__init__ "
    "chatkeep/edge/__init__ chatkeep/web/__init__ chatkeep/runtime/__init__ "
    "chatkeep/dialects/__init__ chatkeep/dialects/cuadra/__init__ chatkeep/dialects/cuadra/routes "
    "chatkeep/dialects/openai/__init__ chatkeep/dialects/openai/wire "
    "chatkeep/services/__init__ chatkeep/services/chats "
    "chatkeep/store/__init__ chatkeep/store/driver chatkeep/store/sqlite chatkeep/store/sqlite_backup "
    "chatkeep/store/sqlite_copying chatkeep/store/postgres chatkeep/store/postgres_copying "
    "chatkeep/models/__init__ chatkeep/models/port chatkeep/models/local chatkeep/models/openai_compatible "
    "chatkeep/domain/__init__ chatkeep/domain/chat"
).split()


def lint(folder: Path, **imports: str) -> subprocess.CompletedProcess[str]:
    """lint-imports over an empty house in `folder` where each module (dots as __) imports what is given."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for module in MODULES:
        path = folder / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for module, imported in imports.items():
        path = folder / "chatkeep" / module.replace("__", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        path.write_text(f"import {imported}\n", encoding="utf-8")
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-cache", "--no-logo"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )


def test_allowed_imports_pass(tmp_path: Path) -> None:
    done = lint(
        tmp_path,
        wiring="chatkeep.dialects.cuadra, chatkeep.store.sqlite, chatkeep.models.local, chatkeep.config, chatkeep.edge",
        cli="chatkeep.wiring, chatkeep.config",
        dialects__cuadra__routes="chatkeep.web, chatkeep.services.chats",
        models__local="chatkeep.models.openai_compatible",
        services__chats="chatkeep.store.driver, chatkeep.models.port",
        store__driver="chatkeep.domain.chat",
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("contract", "imports"),
    [
        (
            "Imports go one way",
            {
                "domain__chat": "chatkeep.store.driver",
                "store__driver": "chatkeep.models.port",
                "services__chats": "chatkeep.runtime",
                "runtime": "chatkeep.web",
                "web": "chatkeep.edge",
                "edge": "chatkeep.wiring",
            },
        ),
        (
            "name a driver or a model",
            {
                "services__chats": "chatkeep.store.sqlite",
                "runtime": "chatkeep.models.local",
                "models__openai_compatible": "chatkeep.models.local",
            },
        ),
        ("name a dialect", {"edge": "chatkeep.dialects.cuadra"}),
        (
            "Two dialects do not know each other",
            {"dialects__cuadra__routes": "chatkeep.dialects.openai.wire"},
        ),
        ("read the settings", {"edge": "chatkeep.config", "dialects__cuadra__routes": "chatkeep.config"}),
    ],
)
def test_forbidden_imports_are_red(tmp_path: Path, contract: str, imports: dict[str, str]) -> None:
    done = lint(tmp_path, **imports)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(contract in line for line in broken), done.stdout
    for importer, imported in imports.items():
        assert f"chatkeep.{importer.replace('__', '.')} -> {imported}" in done.stdout


def test_new_module_without_a_floor_is_red(tmp_path: Path) -> None:
    (tmp_path / "chatkeep").mkdir()
    (tmp_path / "chatkeep" / "attic.py").touch()
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "chatkeep.attic" in done.stdout
