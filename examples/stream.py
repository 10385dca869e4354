"""One answer, piece by piece, with everything that happens on the way.

python examples/stream.py "Tell me a story"

Uses the configuration of $MODELWAY_CONFIG, ./modelway.toml or your configuration folder; without any, the
models of the Ollama server on this machine.
"""

import asyncio
import sys
from contextlib import aclosing

import modelway as mw


async def main(prompt: str) -> None:
    async with mw.Conductor() as conductor, aclosing(conductor.stream(prompt)) as events:
        async for event in events:
            match event:
                case mw.TextDelta(text):
                    print(text, end="", flush=True)
                case mw.ModelSelected() | mw.ModelLoading() | mw.FallingBack() | mw.Degraded():
                    print(f"[{event.announce()}]", file=sys.stderr)
                case mw.Finished():
                    print()


try:
    asyncio.run(main(" ".join(sys.argv[1:]) or "Write a haiku about rain"))
except mw.ModelwayError as error:
    sys.exit(f"error: {error}")
