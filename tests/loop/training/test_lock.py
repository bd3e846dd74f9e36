from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loop.training.lock import project_lock
from loop.training.progress import ProjectHeldError

HOLD = """
import sys
from pathlib import Path
from loop.training.lock import project_lock
with project_lock(Path(sys.argv[1]), "desk"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_with_the_pid_of_the_holder_and_exit_code_6(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ProjectHeldError, match=f"process {holder.pid} ") as refused, project_lock(tmp_path, "desk"):
            pass
        assert refused.value.exit_code == 6
        with project_lock(tmp_path, "another"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with project_lock(tmp_path, "desk"):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), project_lock(tmp_path, "desk"):
        raise RuntimeError
    with project_lock(tmp_path, "desk"):
        assert (tmp_path / "desk" / ".lock").read_text() == f"{os.getpid()}\n"
