"""Run by Alembic; the connection is handed in, inside a transaction that its owner commits."""

from alembic import context

from flykeep.adapters.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite too: the connection never commits by itself
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
