"""In what precision and where a run computes, and when it gives memory back."""

import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from mla_extend.training import memory, precision
from mla_extend.training.precision import fuses_adam, pick_precision

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


def test_bf16_is_taken_where_it_is_computed_in_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for is taken anywhere; `auto` asks the device."""
    for device in (CPU, CUDA, MPS):
        assert [pick_precision(wanted, device) for wanted in ("bf16", "fp32")] == ["bf16", "fp32"]
    for supported, expected in ((True, "bf16"), (False, "fp32")):

        def computes(*, including_emulation: bool, supported: bool = supported) -> bool:
            assert not including_emulation
            return supported

        monkeypatch.setattr(torch.cuda, "is_bf16_supported", computes)
        assert pick_precision("auto", CUDA) == expected
    assert pick_precision("auto", MPS) == "fp32"
    for names, expected in (
        (set(), "fp32"),
        ({"_is_avx512_bf16_supported"}, "bf16"),
        ({"_is_amx_tile_supported"}, "bf16"),
        ({"_is_avx512_supported"}, "fp32"),
    ):
        checks = {name: lambda: True for name in names} | {"_is_vnni_supported": lambda: True}
        monkeypatch.setattr(precision.torch, "cpu", SimpleNamespace(**checks))
        assert pick_precision("auto", CPU) == expected


def test_a_processor_that_says_no_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {"_is_avx512_bf16_supported": lambda: False, "_is_amx_tile_supported": lambda: 0}
    monkeypatch.setattr(precision.torch, "cpu", SimpleNamespace(**checks))
    assert pick_precision("auto", CPU) == "fp32"


def test_adam_is_fused_where_it_can_be() -> None:
    assert [fuses_adam(device) for device in (CPU, CUDA, MPS)] == [True, True, False]


def test_a_step_computes_in_bf16_only_where_it_is_asked_to() -> None:
    """On a CPU with plain attention and blocks in bf16; all of it ends with the step."""
    entered: list[Any] = []
    matrix = nn.Linear(2, 2)
    own = matrix.weight

    class Tuner:
        def blocks_in(self, dtype: torch.dtype) -> Any:
            entered.append(dtype)
            return torch.no_grad()

        def matrices(self) -> Any:
            return [matrix]

    model: Any = SimpleNamespace(base=SimpleNamespace(device=CPU), tuner=Tuner())
    with precision.Autocast("fp32", model)():
        assert not torch.is_autocast_enabled("cpu")
    assert entered == []
    with precision.Autocast("bf16", model)():
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") is torch.bfloat16
        assert not torch.backends.cuda.flash_sdp_enabled()
        assert not torch.backends.cuda.mem_efficient_sdp_enabled()
        assert torch.backends.cuda.math_sdp_enabled()
        assert {one.dtype for one in matrix.parameters()} == {torch.bfloat16}
        assert not any(one.requires_grad for one in matrix.parameters())
    assert entered == [torch.bfloat16]
    assert not torch.is_autocast_enabled("cpu")
    assert torch.backends.cuda.flash_sdp_enabled()
    assert matrix.weight is own


def test_memory_is_given_back_before_large_steps_of_a_process_that_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    size = memory.GROWTH + 1
    monkeypatch.setattr(memory, "_resident", lambda: size)
    freed = memory.FreedMemory()
    freed._trim = asked.append
    freed.make_room(100)
    assert asked == [0]
    freed.make_room(100)  # it has not grown
    size += memory.GROWTH + 1
    freed.make_room(50)  # small
    assert asked == [0]
    freed.make_room(70)
    assert asked == [0, 0]
    size += memory.GROWTH_OF_SMALL + 1
    freed.make_room(1)
    assert asked == [0, 0, 0]
    monkeypatch.setattr(memory, "malloc_trim", lambda: None)
    memory.FreedMemory().make_room(100)


def test_memory_is_kept_up_to_its_bound_and_where_nothing_gives_it_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A step of six tenths of the most tokens is a large one."""
    asked: list[int] = []
    size = memory.GROWTH
    monkeypatch.setattr(memory, "_resident", lambda: size)
    freed = memory.FreedMemory()
    freed._trim = asked.append
    freed.make_room(100)
    assert asked == []
    size += 1
    freed.make_room(60)
    assert asked == [0]
    monkeypatch.setattr(memory, "STATM", tmp_path / "nothing")
    assert memory.FreedMemory()._trim is None


@pytest.mark.skipif(not memory.STATM.exists(), reason="no /proc")
def test_what_is_resident_is_what_the_system_says() -> None:
    told = Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]
    assert memory._resident() == pytest.approx(int(told) * 1024, rel=0.05)
    if platform.libc_ver()[0] == "glibc":
        assert memory.FreedMemory()._trim is not None
        trim = memory.malloc_trim()
        assert trim is not None
        assert trim(0) in {0, 1}
