"""The site's pages, where Django looks for them."""

from cqrssite.admin import contacts as _contacts  # noqa: F401
from cqrssite.admin import parked as _parked  # noqa: F401
