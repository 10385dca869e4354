"""Any OpenAI client works with the gateway: `modelway serve` in one terminal, this in another.

pip install openai
python examples/openai_client.py "Write a Rust function to parse JSON"
"""

import os
import sys

from openai import OpenAI

gateway = os.environ.get("MODELWAY_URL", "http://127.0.0.1:11633")
prompt = " ".join(sys.argv[1:]) or "What day is it?"

# The gateway has no keys, and the client wants one.
with OpenAI(base_url=f"{gateway}/v1", api_key="none") as client:
    # "auto" leaves the choice to modelway; "auto:code" names the task, any other name the model.
    answer = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": prompt}], stream=True
    )
    for header in ("model", "location", "task", "confidence", "reason", "fallback"):
        print(f"{header}: {answer.headers[f'x-modelway-{header}']}", file=sys.stderr)
    for chunk in answer.parse():
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
