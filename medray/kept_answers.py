"""The answers that a policy gave for steps to come, one Parquet file per step.

With `loop.resample_every` other than 1, several steps learn from answers of one policy. They are
kept in the run directory, so that a resumed run learns from the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medray.errors import UserError
from medray.files import replacing
from medray.records import Response
from medray.rundir import step_files, step_of

if TYPE_CHECKING:
    import pyarrow as pa

_POSITION = b"medray.position"


@dataclass(frozen=True, slots=True)
class AnsweredStep:
    """What is kept of one step: its items as (item id, case id), in order; the responses to those
    whose case could be used, by item id; and the position in the stream of cases after it."""

    items: tuple[tuple[str, str], ...]
    responses: dict[str, Response]
    position: int


class KeptAnswers:
    """The answers in one folder. Nothing is read or written until a method is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, step: int) -> bool:
        return self._file(step).exists()

    def write(
        self,
        step: int,
        items: Sequence[tuple[str, str]],
        responses: Sequence[Response],
        position: int,
    ) -> None:
        """Keep the answers of one step; the file is complete or absent."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        given = {response.item_id: asdict(response) for response in responses}
        rows = [{"item_id": i, "case_id": c, "response": given.get(i)} for i, c in items]
        table = pa.Table.from_pylist(rows, schema=_schema())
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._file(step)) as temporary:
            metadata = {_POSITION: json.dumps(position).encode()}
            pq.write_table(table.replace_schema_metadata(metadata), temporary)

    def read(self, step: int) -> AnsweredStep:
        """The answers of a step. Raises UserError if the file is not one that `write` wrote."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._file(step)
        try:
            table = pq.read_table(path)
            rows, metadata = table.to_pylist(), table.schema.metadata or {}
            return AnsweredStep(
                tuple((row["item_id"], row["case_id"]) for row in rows),
                {r["item_id"]: _response(r["response"]) for r in rows if r["response"]},
                int(metadata[_POSITION]),
            )
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            why = f"is not a file of answers ({' '.join(str(error).split())[:200]})"
            raise UserError(str(path), why, "delete it: they are sampled again") from None

    def forget(self, after: int) -> None:
        """Delete the answers for steps later than `after`."""
        for path in step_files(self.folder, ".parquet"):
            if step_of(path) > after:
                path.unlink()

    def _file(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.parquet"


def _response(row: dict[str, Any]) -> Response:
    tokens = {name: tuple(row[name]) for name in ("token_ids", "token_logps")}
    return Response(**(row | tokens))


def _schema() -> pa.Schema:
    import pyarrow as pa

    response = pa.struct(
        [
            *[(name, pa.string()) for name in ("item_id", "case_id")],
            ("policy_version", pa.int64()),
            ("text", pa.string()),
            ("token_ids", pa.list_(pa.int64())),
            ("token_logps", pa.list_(pa.float64())),
            ("finished", pa.bool_()),
            ("given", pa.int64()),
        ]
    )
    names = [(name, pa.string()) for name in ("item_id", "case_id")]
    return pa.schema([*names, ("response", response)])
