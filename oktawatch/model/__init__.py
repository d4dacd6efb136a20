"""Plain value types that all other packages share. Imports nothing else of the project."""
