"""What Django itself serves of the gateway: GraphiQL's files, where no server in front does.

A project includes it: `path("", include("cqrssite.graphql.urls"))`. In debug mode all static files are served, as
Django's runserver does. (GraphQL and the probes are ASGI applications of their own: `cqrssite.gateway`.)
"""

from django.conf import settings
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.contrib.staticfiles.views import serve
from django.urls import re_path

_PREFIX = settings.STATIC_URL.lstrip("/")

urlpatterns = [
    # `insecure`: in production too. These files are the gateway's own, and no secret.
    re_path(rf"^{_PREFIX}(?P<path>graphiql/.*)$", serve, {"insecure": True}),
    *staticfiles_urlpatterns(),
]
