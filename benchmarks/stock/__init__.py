"""A small Django project with the contract's schema, as the documentation of graphene-django would have it."""
