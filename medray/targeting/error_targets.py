"""What the tally asks of the next step: plain numbers, which go to the editors with each call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from medray.config import CorruptionConfig
from medray.editing import Editor, FindingsEditor
from medray.records import Span
from medray.seeds import stream

_NO_IMAGE = {"kind": "black", "region": "whole"}


@dataclass(frozen=True, slots=True)
class ErrorTargets:
    """Per error type: how much to prefer it (1: as it comes), and which share of its errors a
    language prior makes. Without types everything is done as if there were no targets."""

    weights: Mapping[str, float] = field(default_factory=dict)
    prior: Mapping[str, float] = field(default_factory=dict)

    def weight(self, types: Iterable[str]) -> float:
        """Of a case: as promising as the type that goes wrong most; 1.0 where none is known.

        >>> ErrorTargets({"side": 3.0, "zone": 0.5}).weight(["side", "zone"])
        3.0
        """
        return max((self.weights.get(kind, 1.0) for kind in types), default=1.0)

    def corruption(
        self, config: CorruptionConfig, spans: Iterable[Span], *, seed: int
    ) -> CorruptionConfig:
        """How to make v' of a pair with these edits: as configured, or no image at all.

        Where the policy looks and misreads, the configured corruption of the lesion shows it what
        to look at. Where it answers by what is common, that changes nothing in its answer, and a
        patch would still tell side, zone and size: there the image goes black. The chance of the
        second is the share of a language prior in such errors. A run without v' keeps none.
        """
        share = max((self.prior.get(span.error_type, 0.0) for span in spans), default=0.0)
        if config.region == "none" or stream(seed, "corruption").random() >= share:
            return config
        return config.model_copy(update=_NO_IMAGE)


def targeted_editor(editor: Editor, targets: ErrorTargets) -> Editor:
    """The editor that prefers variants by the targets's weights, where it is the findings editor;
    other kinds choose their variants themselves and are returned as they are."""
    if not targets.weights or not isinstance(editor, FindingsEditor):
        return editor
    return FindingsEditor(targets.weights)
