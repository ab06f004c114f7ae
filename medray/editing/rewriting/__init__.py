"""From contradictions to the smallest change of the answer, and from a right answer to its
smallest wrong variant."""
