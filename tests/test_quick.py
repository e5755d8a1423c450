"""What a search leaves out of its imports changes nothing of what it computes."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
LEFT_OUT = ("torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy", "scipy", "torch.distributed.tensor")

ENCODE = """
import contextlib, sys
from mla_extend.use.quick import quick_imports

with quick_imports() if {quick} else contextlib.nullcontext():
    from mla_extend.use.load import load_model

    model = load_model({base!r}, {registry!r}, device="cpu")
    print(model.encode_text(["a black dog", "cat"], "en").numpy().tobytes().hex())
print([name for name in {names!r} if name in sys.modules])
"""

AFTERWARDS = """
import sys
from mla_extend.use.quick import quick_imports

with quick_imports():
    import torch
    from transformers import BertConfig, BertModel

    asked = {inside}
    if asked:
        assert isinstance(torch._dynamo.config.cache_size_limit, int)
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        assert isinstance(ShapeEnv, type)
import torch._dynamo
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


def test_vectors_are_those_that_all_imports_give(dual_folder: Path, tmp_path: Path) -> None:
    about = {"base": str(dual_folder), "registry": str(tmp_path), "names": LEFT_OUT}
    (quick, left), (usual, _) = (python(ENCODE.format(quick=how, **about)) for how in (True, False))
    assert quick == usual
    if f"torch=={version('torch').partition('+')[0]}" in CONSTRAINTS.read_text(encoding="utf-8").split():
        # Another version may import them elsewhere, and is only slower then.
        assert left == "[]"


@pytest.mark.parametrize("inside", [True, False])
def test_what_was_left_out_is_there_when_it_is_asked_for(inside: bool) -> None:
    assert python(AFTERWARDS.format(inside=inside)) == ["fine"]
