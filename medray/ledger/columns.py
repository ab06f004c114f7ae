"""The columns of the ledger, and what fills them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from medray.records import Case, Pair, PairScore, Span, TokenRatio, TokenRatios

_SPANS = pa.list_(
    pa.struct(
        [
            ("start", pa.int32()),
            ("end", pa.int32()),
            ("error_type", pa.string()),
            ("severity", pa.float64()),
            ("reason", pa.string()),
        ]
    )
)
_TOKENS = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("log_ratio", pa.float64())])
)
SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("pair_id", "item_id", "case_id")],
        ("sentence", pa.int64()),
        ("scope", pa.string()),
        *[(name, pa.int64()) for name in ("step", "policy_version")],
        ("image_sha256", pa.string()),
        ("other_images_sha256", pa.list_(pa.string())),
        ("corrupted_sha256", pa.string()),
        *[(name, pa.string()) for name in ("region_source", "corruption")],
        *[(name, pa.string()) for name in ("question", "reference", "response")],
        *[(name, pa.string()) for name in ("prefix", "chosen", "rejected")],
        *[(name, _SPANS) for name in ("chosen_spans", "rejected_spans")],
        ("response_was_correct", pa.bool_()),
        ("relevance", pa.float64()),
        *[(name, pa.string()) for name in ("editor", "status", "drop_reason")],
        *[(name, pa.float64()) for name in ("loss", "chosen_logp", "rejected_logp")],
        *[(name, pa.float64()) for name in ("chosen_ref_logp", "rejected_ref_logp")],
        ("visual_contrast", pa.float64()),
        *[(name, _TOKENS) for name in ("chosen_tokens", "rejected_tokens")],
    ]
)


def case_columns(case: Case) -> dict[str, Any]:
    return {
        "case_id": case.case_id,
        "image_sha256": case.image_sha256 or None,
        "other_images_sha256": [image.sha256 for image in case.other_images] or None,
        "question": stored_text(case.question),
        "reference": stored_text(case.reference),
    }


def pair_columns(pair: Pair) -> dict[str, Any]:
    return {
        "corrupted_sha256": pair.corrupted_sha256 or None,
        "region_source": pair.region_source or None,
        "corruption": pair.corruption or None,
        "scope": pair.scope,
        "sentence": pair.sentence,
        "prefix": stored_text(pair.prefix),
        "chosen": stored_text(pair.chosen),
        "rejected": stored_text(pair.rejected),
        "chosen_spans": _spans(pair.chosen_spans),
        "rejected_spans": _spans(pair.rejected_spans),
        "response_was_correct": pair.response_was_correct,
        "relevance": pair.relevance,
        "editor": pair.editor,
    }


def score_columns(score: PairScore) -> dict[str, Any]:
    """Non-finite numbers become null, so that means over a column stay meaningful."""
    numbers = {key: value for key, value in asdict(score).items() if key != "pair_id"}
    return {key: _finite(value) for key, value in numbers.items()}


def token_columns(ratios: TokenRatios | None) -> dict[str, Any]:
    """The log-ratio of every token of both sides, if they were looked at."""
    if ratios is None:
        return {}
    return {"chosen_tokens": _tokens(ratios.chosen), "rejected_tokens": _tokens(ratios.rejected)}


def _tokens(ratios: Sequence[TokenRatio]) -> list[dict[str, Any]]:
    return [{**asdict(token), "log_ratio": _finite(token.log_ratio)} for token in ratios]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _spans(spans: Sequence[Span]) -> list[dict[str, Any]]:
    return [{**asdict(span), "reason": stored_text(span.reason)} for span in spans]


def stored_text(text: str | None) -> str | None:
    """`text` as Parquet can store it: lone surrogates become '?', which preserves lengths."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
