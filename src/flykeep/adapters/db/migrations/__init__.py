"""How the tables became what they are. A released migration never changes."""
