"""From claims to regions: what a text is about, and where a visual tool finds it in the picture."""

from medray.localising.concepts import Concept, concepts
from medray.localising.edited import edited_regions
from medray.localising.locator import Locator
from medray.localising.registry import TOOLS, check_localiser
from medray.localising.relevance import joint_relevance

__all__ = [
    "TOOLS",
    "Concept",
    "Locator",
    "check_localiser",
    "concepts",
    "edited_regions",
    "joint_relevance",
]
