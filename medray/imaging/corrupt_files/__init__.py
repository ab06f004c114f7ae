"""What `medray corrupt` does with files: one of them, or a sheet of all kinds."""
