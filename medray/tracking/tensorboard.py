"""Figures for TensorBoard, as files of the run directory.

Written in place, without a thread: that of `SummaryWriter` prints a traceback of its own where a
disk fails, whatever the run says about it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

VERSION = "brain.Event:2"  # of the file's format


class TensorBoard:
    """A file of events. It ends silently where it cannot be written: the run's own files, on the
    same disk, say why."""

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.records: RecordWriter | None = None
        name = f"events.out.tfevents.{time.time():.6f}.medray.{os.getpid()}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            self.records = RecordWriter((folder / name).open("xb"))
        self._write(Event(file_version=VERSION))
        if settings:
            known = {key: value for key, value in settings.items() if value is not None}
            self._write(Event(summary=hparams_pb(known)))

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(Event(step=step, summary=Summary(value=scalars)))

    def close(self, ending: str = "") -> None:
        records, self.records = self.records, None
        if records is not None:
            with contextlib.suppress(OSError):
                records.close()

    def _write(self, event: Event) -> None:
        if self.records is None:
            return
        event.wall_time = time.time()
        try:
            self.records.write(event.SerializeToString())
            self.records.flush()
        except OSError:
            self.close()
