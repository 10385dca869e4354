"""How much memory there is, what a model is thought to take, and which failures mean that there is too little."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from modelway.backends.base import ServedModel
from modelway.backends.kv_cache import kv_bytes_per_token
from modelway.config import Config
from modelway.config.settings import resolve
from modelway.discovery.memory import estimated_bytes
from modelway.errors import BackendError
from modelway.residency.capacity import managed_memory
from modelway.residency.machine import Machine, read_machine
from modelway.residency.shortage import is_shortage, raised
from modelway.router import ManagedMemory

GB = 10**9


class Driver(ModuleType):
    """NVIDIA's library, with cards of so many bytes; None: no driver."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self, cards: list[int] | None, is_mute: bool = False) -> None:
        super().__init__("pynvml")
        self.cards = cards
        self.is_mute = is_mute
        self.is_open = False

    def nvmlInit(self) -> None:
        if self.cards is None:
            raise self.NVMLError("Driver Not Loaded")
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:
        assert self.cards is not None
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, index: int) -> SimpleNamespace:
        if self.is_mute:
            raise self.NVMLError("Not Supported")
        assert self.cards is not None
        return SimpleNamespace(total=self.cards[index])


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        (Driver([24 * GB]), Machine(24 * GB * 9 // 10, has_gpu=True)),
        (Driver([24 * GB, 8 * GB]), Machine(32 * GB * 9 // 10, has_gpu=True)),
        (Driver([]), Machine(12 * GB, has_gpu=False)),
        (Driver(None), Machine(12 * GB, has_gpu=False)),
        (Driver([24 * GB], is_mute=True), Machine(12 * GB, has_gpu=False)),
        (None, Machine(12 * GB, has_gpu=False)),
    ],
    ids=["a card", "two cards", "no card", "no driver", "a card that says nothing", "not installed"],
)
def test_the_memory_of_a_machine(
    driver: Driver | None, expected: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GB))
    assert read_machine(tmp_path) == expected
    assert driver is None or not driver.is_open


def test_this_machine_says_something() -> None:
    size = read_machine().memory_bytes
    assert size is not None
    assert size > 100_000_000


@pytest.mark.parametrize(
    ("backend", "memory", "machine", "expected"),
    [
        ('kind = "ollama"', "", Machine(8, False), ManagedMemory(8, True, "machine")),
        ('kind = "ollama"', "", Machine(8, True), ManagedMemory(8, False, "machine")),
        ('kind = "llama_cpp"', "", Machine(8, False), ManagedMemory(8, True, "machine")),
        ('kind = "ollama"\nmemory_bytes = 5', "", Machine(8, False), ManagedMemory(5, True)),
        ('kind = "ollama"\nmemory_bytes = 5', "", Machine(None, False), ManagedMemory(5, True)),
        ('kind = "ollama"', "computes_alone = false", Machine(8, False), ManagedMemory(8, False, "machine")),
        ('kind = "ollama"', "computes_alone = true", Machine(8, True), ManagedMemory(8, True, "machine")),
        ('kind = "mock"\nmemory_bytes = 5', "", Machine(8, False), ManagedMemory(5, True)),
        ('kind = "mock"', "", Machine(8, False), None),
        ('kind = "ollama"', "", Machine(None, False), None),
        ('kind = "ollama"', "manage = false", Machine(8, False), None),
        ('kind = "ollama"\nurl = "http://192.168.0.9:1"\nmemory_bytes = 5', "", Machine(8, False), None),
        ('kind = "openai"\nurl = "http://127.0.0.1:1"\nmemory_bytes = 5', "", Machine(8, False), None),
    ],
)
def test_what_is_managed(backend: str, memory: str, machine: Machine, expected: ManagedMemory | None) -> None:
    settings = resolve(Config.from_toml(f'[memory]\n{memory}\n[[backends]]\nname = "b"\n{backend}\n'))
    assert managed_memory(settings, machine) == ({} if expected is None else {"b": expected})


LLAMA = {"block_count": 32, "embedding_length": 4096, "attention.head_count": 32, "attention.head_count_kv": 8}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        # Llama 3.1 8B: 128 KiB a token.
        (LLAMA, 131_072),
        (LLAMA | {"attention.head_count_kv": None}, 4 * 131_072),
        (LLAMA | {"attention.key_length": 256, "attention.value_length": 256}, 2 * 131_072),
        (LLAMA | {"attention.key_length": 192}, 131_072 * (192 + 128) // 256),
        (LLAMA | {"block_count": None}, None),
        (LLAMA | {"attention.head_count": 0}, None),
        (LLAMA | {"attention.head_count": None}, None),
        (LLAMA | {"embedding_length": None}, None),
        (LLAMA | {"block_count": 2**40}, None),
        ({}, None),
    ],
)
def test_keys_and_values_of_a_token(facts: dict[str, int | None], expected: int | None) -> None:
    assert kv_bytes_per_token(facts.get) == expected


@pytest.mark.parametrize(
    ("served", "context", "expected"),
    [
        (ServedModel("m"), None, None),
        (ServedModel("m", size_bytes=0), None, None),
        (ServedModel("m", size_bytes=1000), None, 1100),
        (ServedModel("m", size_bytes=1000, kv_bytes_per_token=2), None, 1100 + 2 * 4096),
        (ServedModel("m", size_bytes=1000, kv_bytes_per_token=2, max_context=100), None, 1100 + 200),
        (ServedModel("m", size_bytes=1000, kv_bytes_per_token=2, max_context=10**6), None, 1100 + 2 * 4096),
        (ServedModel("m", size_bytes=1000, kv_bytes_per_token=2), 10_000, 1100 + 20_000),
        (ServedModel("m", size_bytes=1000, kv_bytes_per_token=2, loaded_context=8), 10_000, 1100 + 16),
    ],
)
def test_what_a_model_is_thought_to_take(served: ServedModel, context: int | None, expected: int | None) -> None:
    assert estimated_bytes(served, context) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("CUDA error: out of memory", True),
        ("model requires more system memory (9.1 GiB) than is available (3.2 GiB)", True),
        ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 4096", True),
        ("unable to allocate CUDA0 buffer", True),
        ("cudaMalloc failed: out of memory", True),
        ("terminate called after throwing an instance of 'std::bad_alloc'", True),
        ("m could not be loaded: its process ended with -9 ()", True),
        ("m could not be loaded: its process ended with 1 (unknown model architecture)", False),
        ("m was not loaded within 120 s", False),
        ("model 'memory' not found", False),
    ],
)
def test_which_failures_mean_too_little_memory(said: str, expected: bool) -> None:
    assert is_shortage(BackendError(said, kind="server_error")) == expected


def test_an_estimate_that_was_too_small_is_raised_by_a_fifth() -> None:
    assert raised(1_000) == 1_200
