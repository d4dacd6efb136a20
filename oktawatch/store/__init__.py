"""The database. Only this package imports SQLAlchemy."""
