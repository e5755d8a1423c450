"""What a search leaves out of its imports changes nothing of what it computes."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from mla_extend.workflow import add_language

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
LEFT_OUT = ("torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy", "scipy", "torch.distributed.tensor")

ENCODE = """
import contextlib, sys
from mla_extend.use.quick import quick_imports

with quick_imports() if {quick} else contextlib.nullcontext():
    from mla_extend.use.load import load_model

    model = load_model({base!r}, {registry!r}, device="cpu")
    print(model.encode_text(["a black dog", "cat", "paka nyeusi"], ["en", "en", "sw"]).numpy().tobytes().hex())
print([name for name in {names!r} if name in sys.modules])
"""

AFTERWARDS = """
import contextlib
import sys
from mla_extend.use.quick import quick_imports

with quick_imports():
    import torch
    from transformers import BertConfig, BertModel

    if {inside}:
        {first}
        assert isinstance(TransformGetItemToIndex(), contextlib.AbstractContextManager)
        assert isinstance(torch._dynamo.config.cache_size_limit, int)
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        assert isinstance(ShapeEnv, type)
assert not any(type(module).__module__ == "mla_extend.use.quick" for module in sys.modules.values())
import torch._dynamo
import torch._dynamo.exc

assert torch._dynamo.exc is sys.modules["torch._dynamo.exc"]
assert torch._dynamo.exc.Unsupported is sys.modules["torch._dynamo.symbolic_convert"].Unsupported
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

assert torch.distributed.is_available()
assert isinstance(torch._dynamo.config.cache_size_limit, int)
assert isinstance(TransformGetItemToIndex, type)
assert torch.compiler.disable(len) is not len
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).tolist() == [2, 2]
from torch.fx.experimental.symbolic_shapes import sym_eq

assert sym_eq((1, 2), (1, 2)) is True
print("fine")
"""


def python(code: str) -> list[str]:
    """Run code in a process of its own; return the lines that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_vectors_are_those_that_all_imports_give(dual_folder: Path, data: dict[str, Path], tmp_path: Path) -> None:
    add_language(
        "sw", parallel_data=data["parallel"], base=str(dual_folder), registry=tmp_path, recipe="instant", licence="CC0"
    )
    about = {"base": str(dual_folder), "registry": str(tmp_path), "names": LEFT_OUT}
    (quick, left), (usual, _) = (python(ENCODE.format(quick=how, **about)) for how in (True, False))
    assert quick == usual
    if f"torch=={version('torch').partition('+')[0]}" in CONSTRAINTS.read_text(encoding="utf-8").split():
        # Another version may import them elsewhere, and is only slower then.
        assert left == "[]"


TRANSFORM = "from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex"


@pytest.mark.parametrize(
    "first", ["", TRANSFORM, f"import torch._dynamo.exc; {TRANSFORM}", f"torch._dynamo.config; {TRANSFORM}"]
)
def test_what_was_left_out_is_there_when_it_is_asked_for(first: str) -> None:
    """Once, whichever of it is asked for first, while it is left out or afterwards."""
    assert python(AFTERWARDS.format(inside=bool(first), first=first or "pass")) == ["fine"]
