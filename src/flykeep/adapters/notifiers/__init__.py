"""The notifiers flykeep brings: each module ends in its `PLUGIN`, found through an entry point."""
