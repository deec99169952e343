"""The child process around llama.cpp's own HTTP server: run as a program by `llama_server`, imported by nobody.

One line of JSON comes in on stdin (`weights`, `threads`, `parallel`, `context_tokens`), one goes out on stdout
(`address`, `api_key`) once the model answers. It dies with its parent, however that dies: its stdin is a pipe that
the parent keeps open. It imports nothing of chatkeep, so that its memory is llama.cpp's alone.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import select
import sys
import threading
from typing import Any

_PARENT_CHECK_S = 1.0
# Prompts are worked off in pieces of this many tokens, and the other answers get a token between two of them: a
# thread of 2020's reads about 90 tokens a second.
_BATCH_TOKENS = 128
# llama.cpp's own default would let the cache of old prompts grow to 8 GiB.
_PROMPT_CACHE_MIB = 256
# The model's own template would add "You are a helpful AI assistant named SmolLM ..." to every chat without a system
# message. With it this model misses the capital of France; without, it knows.
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Its makers' advice for sampling.
_TEMPERATURE = 0.2
_TOP_P = 0.9
# Answers yield to the server that asked for them when both want the processor.
_NICENESS = 5


def main() -> None:
    """Load, serve, and stay until the parent is gone."""
    settings = json.loads(sys.stdin.buffer.readline())
    # Whatever llama.cpp prints goes to the log: stdout carries one line, and that is ours.
    answer = os.dup(1)
    os.dup2(2, 1)
    os.nice(_NICENESS)
    watch = threading.Thread(target=_die_with_parent, args=(os.getppid(),), name="parent watch", daemon=True)
    watch.start()
    api_key = secrets.token_urlsafe(32)
    server = _serve(settings, api_key)
    os.write(answer, json.dumps({"address": server.listening_address, "api_key": api_key}).encode() + b"\n")
    os.close(answer)
    # The parent reads the log of the start only; from now on troubles are told over HTTP, and a log would just grow.
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    watch.join()


def _serve(settings: dict[str, Any], api_key: str) -> Any:
    # By name, because it comes with the extra `local` and brings no types.
    llama = importlib.import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = settings["weights"]
    params.n_ctx = settings["context_tokens"] * settings["parallel"]
    params.n_parallel = settings["parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.n_batch = params.n_ubatch = _BATCH_TOKENS
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.chat_template = _CHAT_TEMPLATE
    params.sampling.temp = _TEMPERATURE
    params.sampling.top_p = _TOP_P
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.ui = params.endpoint_slots = False
    params.offline = True
    params.verbosity = 1  # errors only
    return llama.Server(params)


def _die_with_parent(parent: int) -> None:
    # The pipe tells at once. The parent's id is asked as well, in case a fork of the parent holds the pipe open.
    while os.getppid() == parent:
        if select.select([0], [], [], _PARENT_CHECK_S)[0] and not os.read(0, 4096):
            break
    os._exit(0)


if __name__ == "__main__":
    main()
