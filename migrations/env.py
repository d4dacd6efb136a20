"""Alembic's environment: runs the revisions on the connection that the store passes.

To run `alembic` itself, pass the database as `-x url=sqlite:///FILE`.
"""

from alembic import context
from sqlalchemy import Connection

from oktawatch.store.database import Database
from oktawatch.store.tables import metadata


def run(connection: Connection) -> None:
    """Run the migrations within the connection's transaction, so that all of them are applied or none."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",  # SQLite can't alter a column in place
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


connection_of_store = context.config.attributes.get("connection")
if connection_of_store is not None:
    run(connection_of_store)
else:
    database = Database(context.get_x_argument(as_dictionary=True)["url"], create=True)
    with database.write() as new_connection:
        run(new_connection)
