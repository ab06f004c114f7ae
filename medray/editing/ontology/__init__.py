"""What the editor knows of medicine: YAML files, and `lexicon`, which reads them."""

from medray.editing.ontology.lexicon import Ontology, ontology

__all__ = ["Ontology", "ontology"]
