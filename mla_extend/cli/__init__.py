"""The command line: parse, call one library function, print. Nothing here imports torch before it is needed."""

from mla_extend.cli.app import main

__all__ = ["main"]
