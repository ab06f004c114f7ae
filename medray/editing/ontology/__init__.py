"""The editor's medical knowledge: YAML files, and `lexicon`, which reads them."""
