"""The gateway as an ASGI application, the same under uvicorn and daphne.

GraphQL and the probes are applications of their own in the Channels router; everything else is Django's.
"""

import os
import warnings
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cqrssite.settings")
# First of all: nothing that touches a model can be imported before Django is set up.
_django: Any = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware  # noqa: E402

from cqrssite import wiring  # noqa: E402
from cqrssite.asgi_apps import ByPath, Lifespan, refuse_socket  # noqa: E402
from cqrssite.graphql.http.endpoint import GraphQLEndpoint  # noqa: E402
from cqrssite.graphql.websocket.consumer import GraphQLConsumer  # noqa: E402
from cqrssite.readiness import Probes  # noqa: E402

# Whitenoise hands static files over as streams, which Django reads whole under ASGI, with a warning. Ours are small.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")

_graphql = GraphQLEndpoint(wiring.current, settings.CONTACTS)
_sockets = GraphQLConsumer.as_asgi(gateway=wiring.current, settings=settings.CONTACTS)
# Only Django wants to know what a proxy on this machine says of who asks, and by which scheme.
_others: Any = ProxyHeadersMiddleware(_django)
_probes = Probes(wiring.current, settings.CONTACTS.reader_address)

application = ProtocolTypeRouter(
    {
        "http": ByPath({"/": _graphql, "/graphql": _graphql, "/healthz": _probes, "/readyz": _probes}, _others),
        "websocket": ByPath({"/": _sockets, "/graphql": _sockets}, refuse_socket),
        "lifespan": Lifespan(lambda: wiring.Gateway(settings.CONTACTS)),
    }
)
