"""Images: reading them whatever their format, lesion regions, and corrupting a region."""
