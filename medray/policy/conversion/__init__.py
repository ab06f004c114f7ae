"""The parts of `medray convert`: the known families, their weights, towers and tokenizers."""
