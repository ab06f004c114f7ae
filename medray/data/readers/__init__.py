"""One reader per dataset, as its authors distribute it."""
