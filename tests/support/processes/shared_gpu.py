"""A GPU that one model at a time fits on, and the actors that take turns on it.

No GPU is needed: who holds the memory is a file with the name and the process of its holder.
"""

import os
import time
from pathlib import Path


class SharedGpu:
    """Refuses whoever takes it while another living process has it."""

    def __init__(self, folder):
        self.holder, self.log = Path(folder) / "holder", Path(folder) / "log"

    def other(self):
        """Who has it, unless that process is gone or this one."""
        written = self.holder.read_text() if self.holder.exists() else ""
        name, _, pid = written.partition(" ")
        return name if name and int(pid) != os.getpid() and Path(f"/proc/{pid}").exists() else ""

    def take(self, who, patience=0.0):
        deadline = time.monotonic() + patience
        while self.other() and time.monotonic() < deadline:
            time.sleep(0.05)
        if name := self.other():
            self.note(f"{who} found {name}")
            raise MemoryError(f"CUDA out of memory: {name} is there")
        self.holder.write_text(f"{who} {os.getpid()}")
        self.note(f"{who} takes")

    def leave(self, who):
        self.holder.unlink()
        self.note(f"{who} leaves")

    def note(self, text):
        with self.log.open("a") as file:
            file.write(text + "\n")


class Engine:
    """A generator without a model: awake from its start until it sleeps."""

    def __init__(self, folder):
        self.gpu, self.folder, self.asleep = SharedGpu(folder), Path(folder), False
        self.gpu.take("engine")

    def sleep(self):
        if (self.folder / "sleepless").exists():
            (self.folder / "sleepless").unlink()
            raise AssertionError("Memory usage increased after sleeping.")
        if not self.asleep:
            self.gpu.leave("engine")
        self.asleep = True

    def pid(self):
        return os.getpid()

    def generate(self):
        if self.asleep:
            self.gpu.take("engine")
        self.asleep = False
        return "text"


class Student:
    """A learner's rank without a model: awake from its start until it rests."""

    def __init__(self, folder):
        self.gpu = SharedGpu(folder)

    def rendezvous(self):
        return "nowhere", 0

    def join(self, address, port):
        self.gpu.take("learner")

    def shard_count(self, mode):
        return 0

    def rest(self):
        self.gpu.leave("learner")

    def resume(self):
        self.gpu.take("learner", patience=30.0)  # as the real one, for a process that is ending

    def pid(self):
        return os.getpid()
