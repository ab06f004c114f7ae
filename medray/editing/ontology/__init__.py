"""What the editor knows of medicine: YAML files, and `lexicon`, which reads them."""
