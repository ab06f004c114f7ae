"""The parts of `medray convert`: what each family is, its weights, its tower, its tokens."""
