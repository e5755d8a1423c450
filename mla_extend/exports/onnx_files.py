"""Towers as ONNX files, and running them by onnxruntime alone."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mla_extend.errors import DataError
from mla_extend.extras import optional

EXTERNAL = 1_900_000_000
"""Bytes of weights from which they lie in a file of their own: one ONNX file holds no more than 2 GB."""

Arrays = Mapping[str, NDArray[Any]]


def require_onnx() -> None:
    """Raise DataError unless the optional libraries are installed."""
    for library in ("onnx", "onnxruntime", "onnxscript"):
        optional(library, "Exporting to ONNX")


def write_onnx(
    module: nn.Module,
    path: Path,
    inputs: Mapping[str, Tensor],
    output: str,
    dynamic: Sequence[int] = (),
) -> None:
    """Trace a module and write it as one file, with the weights beside it where they are too large for that.

    Args:
        module: called with the inputs in their order.
        path: of the file.
        inputs: examples by name.
        output: name of its one output.
        dynamic: dimensions of every input that may vary; in the examples they are at least 2.

    Raises:
        DataError: the module cannot be traced.
    """
    vary = dict.fromkeys(dynamic, torch.export.Dim.DYNAMIC)
    try:
        with _quiet(), torch.no_grad():
            program: Any = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=[output],
                dynamic_shapes=tuple(vary for _ in inputs),
                dynamo=True,
                verbose=False,
            )
            weights = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
            program.save(str(path), external_data=weights > EXTERNAL)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise DataError(f"The model cannot be exported to ONNX ({type(error).__name__}: {said}).") from error


def quantise(path: Path, target: Path) -> None:
    """Write a copy whose weights are whole numbers of 8 bits, each output with a scale of its own."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - an extra

    with _quiet():
        quantize_dynamic(str(path), str(target), weight_type=QuantType.QInt8, per_channel=True)


def run_onnx(path: Path, feeds: Sequence[Arrays]) -> list[NDArray[np.float32]]:
    """Run a file on each set of inputs; return its first outputs."""
    import onnxruntime  # noqa: PLC0415 - an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [session.run(None, dict(feed))[0] for feed in feeds]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' messages, warnings and logs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
