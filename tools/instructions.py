"""How many processor instructions a call takes, held against a record: a gate that no other load disturbs.

Callgrind counts a short run and a long one of the same loop in a bare interpreter that has loaded the extension alone;
their difference leaves out all that happens once. The counts depend on compilers and on the processor's features, so
the record is kept by these. Where it has none for this machine, or valgrind is missing, the gate is skipped and says
so.

    instructions.py            compare: fails where a call takes more than 1.10 times its record
    instructions.py --record   measure this machine anew and keep it
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import modelway as mw
from modelway.router import for_core

RECORD = Path(__file__).parents[1] / "benches" / "record" / "instructions.json"
MOST = 1.10
SHORT, LONG = 1_000, 11_000

PRELUDE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_core", sys.argv[1])
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
class Wakes:
    def wake(self, tickets, refused=None): pass
router = core.CoreRouter({settings!r})
semaphore = core.CoreSemaphore(8, Wakes())
ok = core.RequestOutcome(True, ttft_ms=100.0, duration_ms=900.0, tokens=80)
prompt = "Write a Rust function that parses JSON and returns the list of keys.."
for _ in range(int(sys.argv[2])):
    {call}
"""

CALLS = {
    "select": "router.select(prompt)",
    "admit + finish": 'router.finish(router.admit("m", "ann", tokens=500).ticket, ok, 612)',
    "record_outcome": 'router.record_outcome("m", ok)',
    "acquire + release": "semaphore.acquire(1).release()",
}


def settings() -> dict[str, object]:
    """A router with a rate and a quota a user, and slots, none of which bites."""
    plain = for_core(mw.ModelRouter(mw.Config.from_toml('[defaults]\ngeneral = "m"')).settings)
    none = {"requests": None, "tokens": None}
    rate = {"requests": {"amount": 10**9, "window_s": 1.0, "burst": 10**9}, "tokens": None}
    quota = [{"unit": "tokens", "amount": 10**15, "window_s": 86_400.0}]
    models = [model | {"max_concurrent": 4} for model in plain["models"]]
    return plain | {"limits": {"user": rate, "all": none, "quota": quota}, "models": models}


def first_line(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def features() -> str:
    """A name for what the processor can do: libraries choose their loops by it."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    known = " ".join(sorted(flags[1].split())) if flags else platform.processor()
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def key() -> str:
    parts = (
        f"python {platform.python_version()}",
        first_line("rustc", "--version"),
        first_line("valgrind", "--version"),
        f"{platform.machine()} {features()}",
    )
    return ", ".join(parts)


def counted(code: str, times: int) -> int:
    """Instructions of a whole process."""
    extension = importlib.util.find_spec("modelway._core")
    assert extension is not None
    assert extension.origin is not None
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", sys.executable, "-I", "-S", "-c"]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run([*command, code, extension.origin, str(times)], check=True, capture_output=True, env=environment)
        (totals,) = re.findall(r"^(?:totals|summary): (\d+)", Path(out.name).read_text(encoding="utf-8"), re.M)[-1:]
    return int(totals)


def measured() -> dict[str, int]:
    """Instructions of each call, without those of the loop round it."""

    def of_turn(call: str) -> float:
        code = PRELUDE.format(settings=settings(), call=call)
        return (counted(code, LONG) - counted(code, SHORT)) / (LONG - SHORT)

    loop = of_turn("pass")
    return {name: round(of_turn(call) - loop) for name, call in CALLS.items()}


def main() -> int:
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed, so nothing counts instructions")
        return 0
    assert mw.build_profile["profile"] == "release", "a debug build is never measured"
    records = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    if "--record" in sys.argv[1:]:
        records[key()] = measured()
        RECORD.write_text(json.dumps(records, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(f"recorded for {key()}: {records[key()]}")
        return 0
    if key() not in records:
        print(f"skipped: no record for {key()}; `make instructions-record` makes one")
        return 0
    failed = False
    for name, count in measured().items():
        before = records[key()].get(name)
        is_more = before is not None and count > MOST * before
        failed = failed or is_more
        compared = "not recorded" if before is None else f"{count / before:.3f} of the recorded {before:,}"
        print(f"{name:18} {count:9,} instructions, {compared}{'  TOO MANY' if is_more else ''}")
    if failed:
        print(f"more than {MOST:.2f} times the record: find out why, or record anew with `make instructions-record`")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
