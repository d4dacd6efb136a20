"""Alembic's entry: runs the revisions on the connection that the store hands over.

A developer who calls `alembic` itself names the database with `-x url=sqlite:///FILE`.
"""

from alembic import context
from sqlalchemy import Connection

from oktawatch.store.database import Database
from oktawatch.store.tables import metadata


def run(connection: Connection) -> None:
    """Run what was asked within the connection's own transaction, so that it happens whole or not at all."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",  # SQLite can't alter a column in place
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    database = Database(context.get_x_argument(as_dictionary=True)["url"], create=True)
    with database.write() as own:
        run(own)
