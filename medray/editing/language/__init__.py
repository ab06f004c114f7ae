"""English, as far as the editor needs it: words, sentences, clauses, negation and articles."""
