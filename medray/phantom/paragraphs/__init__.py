"""The second style of phantoms: reports in paragraphs, about more than the lesion."""

from medray.phantom.paragraphs.study import study
from medray.phantom.paragraphs.truth import ChestTruth

__all__ = ["ChestTruth", "study"]
