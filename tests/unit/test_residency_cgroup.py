"""What a container may use: fake trees of control groups, as Linux writes them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from modelway.residency.cgroup import memory_limit
from modelway.residency.machine import Machine, read_machine

GB = 10**9
CGROUP = "proc/self/cgroup"
TOP_2, TOP_1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
#: As version 1 writes it on machines with pages of 4 and of 64 KiB.
UNLIMITED, UNLIMITED_64K = "9223372036854771712", "9223372036854710272"


def plant(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, None, id="no Linux"),
        pytest.param({CGROUP: ""}, None, id="no groups"),
        pytest.param({CGROUP: "0::/"}, None, id="the root of a machine has no limit"),
        pytest.param({CGROUP: "0::/", f"{TOP_2}/memory.max": "4000"}, 4000, id="a container that sees itself on top"),
        pytest.param({CGROUP: "0::/", f"{TOP_2}/memory.max": "max"}, None, id="v2 unlimited"),
        pytest.param(
            {CGROUP: "0::/a", f"{TOP_2}/a/memory.max": "max", f"{TOP_2}/a/memory.high": "3000"}, 3000, id="high"
        ),
        pytest.param(
            {CGROUP: "0::/a", f"{TOP_2}/a/memory.max": "2000", f"{TOP_2}/a/memory.high": "3000"},
            2000,
            id="max below high",
        ),
        pytest.param(
            {CGROUP: "0::/a/b", f"{TOP_2}/a/memory.max": "2000", f"{TOP_2}/a/b/memory.max": "max"}, 2000, id="above"
        ),
        pytest.param(
            {CGROUP: "0::/a/b", f"{TOP_2}/a/memory.max": "2000", f"{TOP_2}/a/b/memory.max": "1000"},
            1000,
            id="the least",
        ),
        pytest.param(
            {CGROUP: "0::/docker/1", f"{TOP_2}/memory.max": "2000"},
            2000,
            id="the machine's path in a container's mount",
        ),
        pytest.param(
            {CGROUP: "0::/../x", f"{TOP_2}/memory.max": "2000", "sys/fs/x/memory.max": "5"},
            2000,
            id="outside of the mount",
        ),
        pytest.param({CGROUP: "0::/a:b", f"{TOP_2}/a:b/memory.max": "9"}, 9, id="a colon in a name"),
        pytest.param(
            {CGROUP: "5:cpu:/a\n4:memory:/a", f"{TOP_1}/a/memory.limit_in_bytes": "4000", "sys/fs/cgroup/cpu/a/x": "1"},
            4000,
            id="v1",
        ),
        pytest.param({CGROUP: "4:memory:/a", f"{TOP_1}/a/memory.limit_in_bytes": UNLIMITED}, None, id="v1 unlimited"),
        pytest.param(
            {CGROUP: "4:memory:/a", f"{TOP_1}/a/memory.limit_in_bytes": UNLIMITED_64K}, None, id="v1, large pages"
        ),
        pytest.param(
            {
                CGROUP: "4:cpuset,memory:/a\n0::/a",
                f"{TOP_1}/a/memory.limit_in_bytes": UNLIMITED,
                f"{TOP_1}/memory.limit_in_bytes": "4000",
            },
            4000,
            id="both versions",
        ),
        pytest.param({CGROUP: "0::/", f"{TOP_2}/memory.max": "0"}, None, id="nothing could run in it"),
        pytest.param({CGROUP: "0::/", f"{TOP_2}/memory.max": "-1"}, None, id="a negative number"),
        pytest.param({CGROUP: "0::/", f"{TOP_2}/memory.max": "\u00b2"}, None, id="no number"),
        pytest.param({CGROUP: "rubbish\n:\n1:cpu", f"{TOP_2}/memory.max": "4000"}, None, id="rubbish"),
        pytest.param({CGROUP: "0::/", f"{TOP_2}/memory.max/x": ""}, None, id="a folder"),
    ],
)
def test_the_limit_of_a_control_group(files: Mapping[str, str], expected: int | None, tmp_path: Path) -> None:
    plant(tmp_path, files)
    assert memory_limit(tmp_path) == expected


@pytest.mark.parametrize(
    ("own", "limit", "expected"),
    [
        (16 * GB, 4 * GB, Machine(3 * GB, has_gpu=False)),
        (16 * GB, 64 * GB, Machine(12 * GB, has_gpu=False)),
        (None, 4 * GB, Machine(3 * GB, has_gpu=False)),
        (None, None, Machine(None, has_gpu=False)),
    ],
    ids=["a container", "a wide one", "only its limit is known", "nothing is known"],
)
def test_a_container_limits_the_machine_s_own_memory(
    own: int | None,
    limit: int | None,
    expected: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def memory() -> SimpleNamespace:
        if own is None:
            raise PermissionError("/proc/meminfo")
        return SimpleNamespace(total=own)

    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(psutil, "virtual_memory", memory)
    if limit is not None:
        plant(tmp_path, {CGROUP: "0::/", "sys/fs/cgroup/memory.max": str(limit)})
    assert read_machine(tmp_path) == expected
