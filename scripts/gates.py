"""The project's own gates: rules of ARCHITECTURE.md and CONTRIBUTING.md that no ready-made linter knows.

Run by `make check`; exits 1 and prints `file:line: gate: one sentence` for each breach. The rules are in
`gate_rules/`; the tables below say where a thing is at home, and which exceptions there are, and why.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from gate_rules import evils, size, statements, texts
from gate_rules.source import Finding, Source

Places = Mapping[str, Mapping[str, str]]
QUERIES = "src/chatkeep/store/queries"

# Both tables: gate -> {"path:subject" (either may hold *): reason}. The subject is the function around the finding
# unless said otherwise. Here is where the laws themselves put a thing:
HOMES: Places = {
    "environment": {
        "src/chatkeep/config.py:*": "the only reader of the environment",
        "src/chatkeep/cli/__init__.py:main": "passes it on to the same program before anything is imported",
    },
    "clock": {
        "src/chatkeep/ports.py:*": "the port itself",
    },
    "http-numbers": {
        "src/chatkeep/web/*": "law 4: web speaks HTTP",
        "src/chatkeep/edge/*": "law 4: edge speaks HTTP",
        "src/chatkeep/dialects/*/errors.py:*": "law 4: a dialect's table of errors",
        "src/chatkeep/dialects/*/routes*": "a route declares what it answers when all is well",
    },
    # Subject: "control" (pragmas, transactions) or "query".
    "sql": {
        "src/chatkeep/store/sqlite*.py:control": "the driver opens, tunes and commits",
        "src/chatkeep/store/postgres*.py:control": "the driver opens, binds and commits",
        "src/chatkeep/store/postgres*.py:query": "what the driver asks the engine about itself: clock, snapshot, roles",
    },
}

# And here are the exceptions, one by one. One that nothing needs any more is a breach.
EXCUSES: Places = {
    "clock": {
        "bench/streams.py:*": "a latency is from the moment that the server wrote down",
        "src/chatkeep/models/llama_child.py:main": "a key between two processes on loopback, kept nowhere",
    },
    "broad-except": {
        "src/chatkeep/edge/app.py:run": "the edge's last resort: the client gets a sentence, the log the traceback",
        "src/chatkeep/runtime/runner.py:_work": "the runner's outermost loop: a bug must not leave a chat generating",
        "src/chatkeep/store/sqlite_writer.py:_commit": "a body's error goes to its caller, not to the writer thread",
        "src/chatkeep/store/postgres_connections.py:borrow": "the connection is given back or thrown away",
        "src/chatkeep/store/postgres_writer.py:*": "a body's error goes to its caller, not to the lane",
    },
    "http-numbers": {
        "src/chatkeep/domain/limits.py:*": "sizes and counts that look like a status",
    },
    "sql": {
        "src/chatkeep/store/sqlite_backup.py:query": "counts the tables that a file has, whatever schema it is of",
        "src/chatkeep/store/copying.py:query": "made of the names that a schema has, so that no table is forgotten",
        "src/chatkeep/store/sqlite_copying.py:query": "made of the names that a schema has",
    },
    "parameters": {
        "src/chatkeep/cli/chat.py:chat": "a command's parameters are the user's options",
    },
    # Subject: the statement's name. `system_…` ones run only in a transaction that is bound to no organisation.
    "tenancy": {
        f"{QUERIES}/nodes.sql:system_*": "which servers there are, and which one does what but one may do",
        f"{QUERIES}/sign_ins.sql:system_sign_ins_*": "signing in names no organisation",
        f"{QUERIES}/agreements.sql:system_agreement_*": "what all servers of the store agree on",
        f"{QUERIES}/organisations.sql:system_organisation*": "the operator's list of organisations",
        f"{QUERIES}/credentials.sql:system_credential_by_secret": "the read that finds out who is asking",
        f"{QUERIES}/credentials.sql:system_credential_by_id": "the client behind an access token",
        f"{QUERIES}/principals.sql:system_principal_get": "the person behind a session token",
        f"{QUERIES}/principals.sql:system_principal_get_by_email": "signing in names no organisation",
        f"{QUERIES}/*runs.sql:system_runs_*": "leases are of processes, and these work for all organisations",
        f"{QUERIES}/*events.sql:system_delta*": "one tick writes for all runs of a process",
        f"{QUERIES}/*events.sql:system_events_heads": "whoever waits is woken, and then looks as who it is",
        f"{QUERIES}/events.sql:system_*_fold*": "the sweeper folds what ended long ago",
        f"{QUERIES}/events.sql:system_runs_to_fold": "the sweeper folds what ended long ago",
        f"{QUERIES}/*doctor.sql:system_check_*": "the operator examines the whole store",
        f"{QUERIES}/idempotency.sql:system_idempotency_*": "at start and by age, for all alike",
        f"{QUERIES}/chats.sql:system_chat*_expired": "the sweeper deletes what its owner let expire",
        f"{QUERIES}/chats.sql:system_chat*_deleted": "the sweeper deletes what was deleted long ago",
    },
}

CODE = ("src/", "bench/", "scripts/")
CODE_GATES = (
    size.file_size,
    size.function_size,
    size.parameters,
    size.file_name,
    evils.environment,
    evils.clock,
    evils.broad_except,
    evils.kept_tasks,
    evils.http_numbers,
    evils.pure_domain,
    statements.sql_in_python,
    texts.reasons,
)


def project_files(root: Path) -> dict[str, str]:
    """Every text file of the project by its path from `root`: what git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    files = {}
    for path in filter(None, listed.stdout.split("\0")):
        try:
            files[path] = (root / path).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # a picture, or a file deleted but not yet committed
    return files


def breaches(files: Mapping[str, str]) -> Iterator[Finding]:
    """All findings in the files, excused or not."""
    migrations = {path: text for path, text in files.items() if path.startswith(statements.MIGRATIONS)}
    tenants = statements.tenant_tables(migrations)
    for path, text in files.items():
        yield from texts.registries(path, text)
        if path.startswith(statements.QUERIES) and path.endswith(".sql"):
            yield from statements.tenancy(path, text, tenants)
        if path.startswith(CODE) and path.endswith(".py"):
            yield from _code_breaches(Source(path, text))


def judge(
    findings: Iterable[Finding], homes: Places = HOMES, excuses: Places = EXCUSES
) -> tuple[list[Finding], list[str]]:
    """What neither table covers, and the excuses that covered nothing."""
    unused = {(gate, place) for gate, places in excuses.items() for place in places}
    red = []
    for finding in findings:
        excused = _covering(finding, excuses)
        unused.difference_update((finding.gate, place) for place in excused)
        if not excused and not _covering(finding, homes):
            red.append(finding)
    return red, [
        f'scripts/gates.py: nothing needs the excuse "{place}" for {gate}' for gate, place in sorted(unused)
    ]


def main(root: Path) -> int:
    """Prints what is wrong under `root`, or one line that nothing is; 0 or 1 for the shell."""
    files = project_files(root)
    red, stale = judge(breaches(files))
    for complaint in (*sorted(map(str, red)), *stale):
        print(complaint)
    if red or stale:
        print(f"gates: {len(red) + len(stale)} to repair")
        return 1
    print(f"gates: {len(files)} files, nothing to repair")
    return 0


def _covering(finding: Finding, places: Places) -> list[str]:
    subject = f"{finding.path}:{finding.subject}"
    return [place for place in places.get(finding.gate, ()) if fnmatchcase(subject, place)]


def _code_breaches(source: Source) -> Iterator[Finding]:
    try:
        _ = source.tree
    except SyntaxError as error:
        yield Finding("syntax", source.path, error.lineno or 1, "file", "this is not Python")
        return
    for gate in CODE_GATES:
        yield from gate(source)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
