"""From text to claims, and from claims to a verdict on an answer."""
