"""Which model would serve a prompt, and why: decided in microseconds, no model is asked.

python examples/route.py "Solve x^2 + 5x + 6 = 0"
"""

import sys
from pathlib import Path

import modelway as mw

router = mw.ModelRouter(mw.load_config(Path(__file__).with_name("models.toml")))
for prompt in sys.argv[1:] or ["What day is it?", "Write a Rust function to parse JSON"]:
    decision = router.select(prompt)
    print(f"{prompt}\n  {decision.model}: {decision.explanation}")
    print(f"  if it fails: {', '.join(decision.chain) or 'none'}")
