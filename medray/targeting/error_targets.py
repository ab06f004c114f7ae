"""What the tally implies for the next step: plain numbers, sent to the editors with each call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from medray.config import CorruptionConfig
from medray.editing import Editor, FindingsEditor
from medray.records import Span
from medray.seeds import stream
from medray.targeting.grouping import Grouping

_NO_IMAGE = {"kind": "black", "region": "whole"}


@dataclass(frozen=True, slots=True)
class ErrorTargets:
    """Per error type: how much to prefer it (1: no preference), and the share of its errors that
    a language prior causes. Without types, nothing is targeted. Counted by classes, both hold
    those of the classes as well."""

    weights: Mapping[str, float] = field(default_factory=dict)
    prior: Mapping[str, float] = field(default_factory=dict)
    by: Grouping = "error_type"

    def weight(self, types: Iterable[str]) -> float:
        """The weight of a case: the largest of its error types' weights; 1.0 without any.

        >>> ErrorTargets({"side": 3.0, "zone": 0.5}).weight(["side", "zone"])
        3.0
        """
        return max((self.weights.get(kind, 1.0) for kind in types), default=1.0)

    def corruption(
        self, config: CorruptionConfig, spans: Iterable[Span], *, seed: int
    ) -> CorruptionConfig:
        """How to make v' of a pair with these edits: as configured, or as a black image.

        If the policy misreads the image, corrupting the lesion as configured shows it what to
        look at. If it answers from a language prior, that does not change its answer, and a
        corrupted patch would still reveal side, zone and size: then the image becomes black, with
        probability equal to the estimated share of language-prior errors. A run without v' stays
        without.
        """
        share = max((self.prior.get(span.error_type, 0.0) for span in spans), default=0.0)
        if config.region == "none" or stream(seed, "corruption").random() >= share:
            return config
        return config.model_copy(update=_NO_IMAGE)


@dataclass(frozen=True, slots=True)
class EditContext:
    """What all edits of a step share: the policy version that will learn from them, and which of
    the policy's errors they should target."""

    version: int
    targets: ErrorTargets = field(default_factory=ErrorTargets)


def targeted_editor(editor: Editor, targets: ErrorTargets) -> Editor:
    """A findings editor that prefers wrong variants by the targets' weights; editors of other
    kinds choose their variants themselves and are returned unchanged."""
    if not targets.weights or not isinstance(editor, FindingsEditor):
        return editor
    return FindingsEditor(targets.weights, same_slot=editor.same_slot)
