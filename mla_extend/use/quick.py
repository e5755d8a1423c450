"""Import transformers without what a single query has no part in: compiling, several machines, object detection.

Each is imported as soon as any model is, and together they take longer than the models and the query.
"""

import gc
import importlib
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
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
    "torch.fx.experimental.symbolic_shapes": frozenset({*PLAIN, "has_free_unbacked_symbols"}),
}
"""What is named long before it is called, if it ever is, by the module that it is in."""


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import torch and transformers for one query; what is imported meanwhile is good for nothing but encoding.

    It is for a process that opens a model, encodes, and ends. What it tells the libraries while it lasts, they would
    also find on a machine that lacks those parts; a name that a version of them does not have is left alone. Where
    transformers was imported before, nothing is done.
    """
    with ExitStack() as stack:
        if "transformers" not in sys.modules:
            if gc.isenabled():
                # The collector finds nothing while modules are made, and takes a second to do so.
                gc.disable()
                stack.callback(gc.enable)
                stack.callback(gc.freeze)  # nor does it afterwards
            _leave_out(stack)
        yield


class _StandIn(ModuleType):
    """Stand for a module; give way to it as soon as more is asked than a stand-in can tell."""

    def real(self, name: str) -> Any:
        """Return what the module has under a name."""
        _give_way()
        return getattr(importlib.import_module(self.__name__), name)


def _give_way() -> None:
    """Take all stand-ins out, wherever the import system has put them: modules of the compiler import each other."""
    for name in (COMPILER, *LATER):
        stand_in = sys.modules.get(name)
        if isinstance(stand_in, _StandIn):
            del sys.modules[name]
            parent, _, last = name.rpartition(".")
            if parent in sys.modules and vars(sys.modules[parent]).get(last) is stand_in:
                delattr(sys.modules[parent], last)


class _InCompiler(MetaPathFinder, Loader):
    """Let a module inside the compiler be imported once, although the compiler is there only from then on."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Give way; find the module where that has imported it."""
        if not name.startswith(f"{COMPILER}.") or not isinstance(sys.modules.get(COMPILER), _StandIn):
            return None
        _give_way()
        importlib.import_module(COMPILER)
        if name not in sys.modules:
            return None
        module, spec = sys.modules[name], ModuleSpec(name, self)
        # Otherwise the import system would go on with the module's own, and run it again.
        spec.loader_state, module.__spec__ = module.__spec__, spec
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that is there."""
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it was."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


class _Marks(_StandIn):
    """Stand for the compiler while functions are only marked for it."""

    def __getattr__(self, name: str) -> Any:
        if name in MARKS:
            return _as_it_is
        if name.startswith("__"):  # a look at where it is from
            raise AttributeError(name)
        return self.real(name)


class _Later(_StandIn):
    """Stand for a module until one of its functions is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in LATER[self.__name__]:
            return self.real(name)

        def call(*arguments: Any, **named: Any) -> Any:
            if name in PLAIN and not named and all(map(_is_known, arguments)):
                return PLAIN[name](*arguments)
            return self.real(name)(*arguments, **named)

        return call


def _leave_out(stack: ExitStack) -> None:
    import torch  # noqa: PLC0415 - slow, as all of this

    if COMPILER not in sys.modules:
        compiler = _Marks(COMPILER)
        compiler.__path__ = [str(Path(torch.__file__).parent / "_dynamo")]
        for stand_in in (compiler, *map(_Later, LATER)):
            sys.modules.setdefault(stand_in.__name__, stand_in)
        finder = _InCompiler()
        sys.meta_path.insert(0, finder)
        stack.callback(sys.meta_path.remove, finder)
        stack.callback(_give_way)
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
