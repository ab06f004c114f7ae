"""The recipe of the tiny base model: see, speak, and then a prior that overrules what is seen."""
