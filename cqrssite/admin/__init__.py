"""The site's pages, where Django looks for them."""

from django.apps import apps

from cqrssite.admin import parked as _parked  # noqa: F401

if apps.is_installed("database_service"):
    from cqrssite.admin import contacts as _contacts  # noqa: F401
