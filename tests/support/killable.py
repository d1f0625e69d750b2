"""Runs requests in child processes that are killed, by SIGKILL, at a chosen moment.

Importing torch takes longer than a tiny run. So this script, started by `test_resume.py`, imports once and forks a
child for every job: one JSON object a line on standard input, answered by one on standard output.

A moment is a number of seconds, or an event: a file opened for writing, renamed or removed (Python's audit hooks see it
before it happens, whatever code does it), `torch.save`, a row of a data set that is prepared, a forward pass of a
layer. The child counts its events and kills itself at the one it was told. With `tear` it first cuts the file it opened
last in half, for a kill may come in the middle of a write.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import datasets.arrow_writer  # noqa: F401 - here and below: imported once, where every run would import it late
import pyarrow.parquet  # noqa: F401
import torch
import torch._dynamo  # three seconds, by an optimiser's first step

import fasbench.data.shards
import fasbench.data.store
import fasbench.data.synthetic.source  # noqa: F401
from fasbench.plan import Request
from fasbench.results import code_version
from fasbench.runner import Reporter, run


class Events(Reporter):
    """Counts the events of this process, and kills it at one of them."""

    def __init__(self, folders: list[str], kill_at: int | None, tear: bool) -> None:
        self.folders = folders
        self.kill_at = kill_at
        self.tear = tear
        self.names: list[str] = []
        self.written: str | None = None  # the file opened last to be written anew

    def watch(self) -> None:
        sys.addaudithook(self._audit)
        torch.nn.modules.module.register_module_forward_hook(lambda *_: self._happens("forward"))
        save = torch.save

        def saved(content: Any, file: Any, *arguments: Any, **options: Any) -> None:
            self._happens("torch.save", str(file) if isinstance(file, str | os.PathLike) else None)
            save(content, file, *arguments, **options)  # writes in C++, which no hook sees

        torch.save = saved

    def preparing(self, dataset: str, done: int, total: int) -> None:
        self._happens(f"prepare {dataset}, row {done}")

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            changes = bool(flags & (os.O_WRONLY | os.O_RDWR))
        elif event in ("os.rename", "os.remove"):
            path, mode, changes = arguments[1 if event == "os.rename" else 0], "", True
        else:
            return
        if changes and isinstance(path, str | os.PathLike):
            full = os.path.abspath(os.fspath(path))
            for folder in self.folders:
                if (full + os.sep).startswith(folder + os.sep):
                    name = os.path.relpath(full, os.path.dirname(folder))
                    self._happens(f"{event} {name}", full if set(mode or "") & {"w", "x"} else None)

    def _happens(self, name: str, written: str | None = None) -> None:
        self.names.append(name)
        if len(self.names) == self.kill_at:
            if self.tear and self.written and os.path.exists(self.written):
                os.truncate(self.written, os.path.getsize(self.written) // 2)
            os.killpg(0, signal.SIGKILL)
        self.written = written or self.written


def child(job: dict[str, Any]) -> None:
    """Carry a job out; never returns."""
    code = 1
    try:
        os.setsid()  # the group that is killed
        os.environ["FASBENCH_DATA"] = job["data"]
        events = Events([job["out"], job["data"]], job.get("kill_at"), job.get("tear", False))
        events.watch()
        run(Request(**{**job["request"], "sets": tuple(job["request"]["sets"]), "out": Path(job["out"])}), events)
        if "events" in job:
            Path(job["events"]).write_text(json.dumps(events.names))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main() -> None:
    code_version()  # asked and remembered here: `git` should not be among what is killed
    gc.freeze()  # or each child's garbage collection would copy all that was imported
    for line in sys.stdin:
        job = json.loads(line)
        started = time.perf_counter()
        process = os.fork()
        if process == 0:
            child(job)
        if (seconds := job.get("kill_after")) is not None:
            time.sleep(seconds)
            os.kill(process, signal.SIGKILL)  # a child not waited for still has its number, even if it has ended
        _, status = os.waitpid(process, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "seconds": time.perf_counter() - started}
        print(json.dumps(answer), flush=True)
    gc.unfreeze()  # or libraries would call their objects leaked


if __name__ == "__main__":
    main()
