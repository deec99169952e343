"""Starting the process anew with glibc's allocator tuned.

By default glibc gives the memory of each large answer back to the kernel and asks for it again for the next one;
with these settings reading long chats was 1.2 to 1.7 times as fast (design/performance.md). glibc reads them
before Python runs, so the process has to be started again with them. Called by `cli` first thing in `serve`.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence

ALLOCATOR_SETTINGS: Mapping[str, str] = {
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024 * 1024),
    "MALLOC_MMAP_THRESHOLD_": str(64 * 1024 * 1024),
    "MALLOC_TOP_PAD_": str(16 * 1024 * 1024),
}


def ensure_allocator(environ: Mapping[str, str], argv: Sequence[str]) -> None:
    """Replace this process by itself with the allocator's settings in its environment; return if there is no need.

    `environ`: the whole environment, what the operator has set in it stands. `argv`: `sys.orig_argv`, the interpreter
    included. Nothing happens without glibc, with all settings present (so it happens once), or when the system
    refuses: slower is better than not at all. Call it before threads are started and files are opened.
    """
    missing = {name: value for name, value in ALLOCATOR_SETTINGS.items() if name not in environ}
    if not missing or not sys.executable or platform.libc_ver()[0] != "glibc":
        return
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(sys.executable, list(argv), {**environ, **missing})  # noqa: S606 - our own command line
    except OSError:
        return
