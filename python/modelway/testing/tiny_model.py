"""What a tiny model says: its description, of which tiny_gguf makes a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TinyModel:
    """A model that says ``script``, whatever it is asked.

    ``loop``: it starts again at the script's end, until the context or the caller's limit ends it.
    ``thinking`` is said first, as thinking. ``tool_call``, the JSON of one call, is said in place of the
    script where tools are offered (which must include that tool: the engine lets it call no other), and
    ``after_tool`` where the last message is a tool's result. ``context`` is in tokens; the prompt takes
    one a byte. ``pad_bytes`` of zero weights, read for each token, make it as slow and as large in memory
    as a real model, and take no disk. ``license`` goes into the file.
    """

    name: str
    script: str
    thinking: str = ""
    tool_call: str = ""
    after_tool: str = ""
    loop: bool = False
    context: int = 4096
    pad_bytes: int = 0
    license: str = "mit"
