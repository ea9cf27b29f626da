"""The catalog and the owners' locks, on SQLite or PostgreSQL. Start reading at `engine`; the rows are in `tables`."""
