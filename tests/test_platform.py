"""What differs by operating system lies in one module, and the package imports where its best is lacking."""

import subprocess
import sys
from pathlib import Path

import pytest

from mla_extend import platform

LACKING = """
import contextlib, importlib, os, pkgutil, signal, sys
from pathlib import Path

import psutil  # libraries know their own ways on Windows: they are loaded first, and the package again without
import mla_extend

names = [found.name for found in pkgutil.walk_packages(mla_extend.__path__, "mla_extend.")]
names.remove("mla_extend.__main__")
there, optional = [], []
for name in names:
    try:
        importlib.import_module(name)
        there.append(name)
    except Exception as error:  # an optional library that is not installed
        optional.append(f"{name}: {error!r}")
for name in [name for name in sys.modules if name.partition(".")[0] == "mla_extend"]:
    del sys.modules[name]
for name in ("resource", "fcntl", "termios", "pwd", "grp", "tty", "pty", "syslog", "posix"):
    sys.modules[name] = None
for name in ("SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIG_BLOCK", "SIG_UNBLOCK",
             "pthread_sigmask", "pthread_kill", "alarm", "setitimer"):
    delattr(signal, name)
for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "fork", "forkpty", "killpg", "setsid", "getuid", "geteuid",
             "getpgid", "sched_getaffinity", "pread", "pwrite", "posix_fadvise", "posix_fallocate", "statvfs",
             "getloadavg", "uname", "WNOHANG", "sysconf", "chown", "fchmod", "register_at_fork", "nice", "mkfifo"):
    if hasattr(os, name):
        delattr(os, name)
for name in there:
    importlib.import_module(name)

from mla_extend import files, platform, stop
assert platform.cores() >= 1
assert platform.peak_memory() > 1 << 20
platform.listen_to_interrupts()
with files.atomic_path(Path(sys.argv[1])) as path:
    path.write_text("whole")
with stop.StopRequest().listening():
    pass
print(len(there), *optional, sep="\\n")
sys.stdout.flush()
os._exit(0)
"""


def test_every_module_imports_without_what_windows_lacks(tmp_path: Path) -> None:
    """Nothing but `platform` may need `resource`, `fcntl`, SIGKILL, O_DIRECTORY and their like."""
    done = subprocess.run(
        [sys.executable, "-c", LACKING, str(tmp_path / "file")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == "whole"
    count, *optional = done.stdout.splitlines()
    assert int(count) > 150
    assert not [line for line in optional if "not installed" not in line and "No module named" not in line], optional


@pytest.mark.parametrize("windows", [False, True])
def test_any_thread_can_interrupt(windows: bool) -> None:
    code = (
        "import threading, time\nfrom mla_extend import platform\n"
        f"platform.WINDOWS = {windows}\nplatform.listen_to_interrupts()\n"
        "try:\n    threading.Thread(target=platform.interrupt_self).start()\n    time.sleep(1)\n    time.sleep(20)\n"
        "except KeyboardInterrupt:\n    print('interrupted')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "interrupted\n"


@pytest.mark.parametrize("windows", [False, True])
def test_folders_change_names(windows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "WINDOWS", windows)
    for name in ("one", "other"):
        (tmp_path / name / name).mkdir(parents=True)
    platform.swap_folders(tmp_path / "one", tmp_path / "other")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")) == ["one/other", "other/one"]
    assert len(list(tmp_path.iterdir())) == 2
