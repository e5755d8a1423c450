"""Ctrl-C, taken between two steps: the first asks to stop and save, the second stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Hold whether the user wants to stop, and how to go on afterwards."""

    requested: bool = False
    remedy: str = "Run the same command again to continue."

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Turn the first interrupt or termination signal into a request while the context lasts (main thread only)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        signals = [signal.SIGINT, signal.SIGTERM]
        before = {number: signal.getsignal(number) for number in signals}

        def ask(_number: int, _frame: FrameType | None) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True

        for number in signals:
            signal.signal(number, ask)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
