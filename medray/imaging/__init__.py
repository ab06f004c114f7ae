"""Images: reading them in any format, lesion regions, and corruption of a region."""
