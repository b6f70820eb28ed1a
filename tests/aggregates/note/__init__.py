"""An aggregate of its own, as a team would add it: the store's tests run for it too."""
