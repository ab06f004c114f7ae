"""One synthetic chest study: what is true of it, its image, its questions and report."""

from medray.phantom.studies.study import Study, study
from medray.phantom.studies.truth import Truth

__all__ = ["Study", "Truth", "study"]
