"""Plain value types that the rooms hand each other; imports nothing of the project."""
