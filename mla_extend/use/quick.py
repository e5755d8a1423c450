"""Import transformers without what a single query has no part in: compiling, several machines, object detection.

Each is imported as soon as any model is, and together they take longer than the models and the query.
"""

import gc
import importlib
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
MARKS = frozenset({"disable", "allow_in_graph", "assume_constant_result"})
"""Decorators that tell the compiler how to take a function, and change nothing where nothing is compiled."""
PLAIN: dict[str, Callable[..., Any]] = {
    "expect_true": bool,
    "guard_or_true": bool,
    "guard_or_false": bool,
    "guard_size_oblivious": bool,
    "is_nested_int": lambda _: False,
    "sym_eq": operator.eq,
}
"""What functions on sizes that nobody knows yet give for truths and sizes that are known."""
LATER = {
    "torch._dynamo._trace_wrapped_higher_order_op": frozenset({"TransformGetItemToIndex"}),
    "torch.fx.experimental.symbolic_shapes": frozenset[str](),
}
"""Modules that are named long before a function of theirs is called; and classes that are called as functions are."""


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import torch and transformers for one query; what is imported meanwhile is good for nothing but encoding.

    It is for a process that opens a model, encodes, and ends. What it tells the libraries while it lasts, they would
    also find on a machine that lacks those parts; a name that a version of them does not have is left alone. Where
    transformers was imported before, nothing is done.
    """
    with ExitStack() as stack:
        # The collector finds nothing while modules are made, and takes a second to do so.
        gc.disable()
        stack.callback(gc.enable)
        stack.callback(gc.freeze)  # nor does it afterwards
        if "transformers" not in sys.modules:
            _leave_out(stack)
        yield


class _StandIn(ModuleType):
    """Stand for a module; give way to it as soon as more is asked than a stand-in can tell."""

    def real(self, name: str) -> Any:
        """Return what the module has under a name."""
        self.remove()
        return getattr(importlib.import_module(self.__name__), name)

    def remove(self) -> None:
        """Go out of the way, wherever the import system has put this."""
        parent, _, name = self.__name__.rpartition(".")
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        if parent in sys.modules and vars(sys.modules[parent]).get(name) is self:
            delattr(sys.modules[parent], name)


class _Marks(_StandIn):
    """Stand for the compiler while functions are only marked for it."""

    def __getattr__(self, name: str) -> Any:
        if name in MARKS:
            return _as_it_is
        if name.startswith("__") and name != "__path__":  # a look at where it is from
            raise AttributeError(name)
        return self.real(name)


class _Later(_StandIn):
    """Stand for a module until one of its functions is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not (name.islower() or name in LATER[self.__name__]):
            return self.real(name)

        def call(*arguments: Any, **named: Any) -> Any:
            if name in PLAIN and not named and all(map(_is_known, arguments)):
                return PLAIN[name](*arguments)
            return self.real(name)(*arguments, **named)

        return call


def _leave_out(stack: ExitStack) -> None:
    import torch  # noqa: PLC0415 - slow, as all of this

    for stand_in in (_Marks(COMPILER), *map(_Later, LATER)):
        if sys.modules.setdefault(stand_in.__name__, stand_in) is stand_in:
            stack.callback(stand_in.remove)
    _replace(stack, torch.distributed, "is_available", lambda _: _no)
    # Drawing numbers for a tensor that has none, before its weights are read, imports a system for algebra.
    _replace(stack, torch.nn.init, "_no_grad_normal_", _unless_meta)
    import transformers  # noqa: PLC0415
    from transformers.utils import import_utils  # noqa: PLC0415

    models = Path(transformers.__file__).parent / "models"

    def once(scan: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Take the list of all models, for which a thousand files are read, from when it was first made."""
        return lambda path: scan(models if Path(path) == models / "__init__.py" else path)

    _replace(stack, import_utils, "create_import_structure_from_path", once)
    for module in (import_utils, transformers.utils):
        _replace(stack, module, "is_scipy_available", lambda _: _no)


def _replace(stack: ExitStack, module: Any, name: str, change: Callable[[Any], Any]) -> None:
    """Let a module have another function of a name for a while."""
    if (found := getattr(module, name, None)) is not None:
        setattr(module, name, change(found))
        stack.callback(setattr, module, name, found)


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    """Decorate a function with nothing, whether the decorator is called or not."""
    return function if function is not None else _as_it_is


def _is_known(value: Any) -> bool:
    """Say whether a value is a truth, a whole number, or a tuple of such."""
    return type(value) in {bool, int} or (type(value) is tuple and all(map(_is_known, value)))


def _unless_meta(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function leave tensors without content as they are."""
    return lambda tensor, *how, **named: tensor if tensor.is_meta else draw(tensor, *how, **named)


def _no() -> bool:
    return False
