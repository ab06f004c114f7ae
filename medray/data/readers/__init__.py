"""One reader per dataset, in the layout its authors distribute."""
