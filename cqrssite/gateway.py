"""The gateway as an ASGI application: GraphQL, the probes, and all else as the project has it.

    from django.core.asgi import get_asgi_application
    from cqrssite.gateway import gateway

    application = gateway(get_asgi_application())

Nothing is imported before it is called that needs Django to be set up.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from channels.routing import ProtocolTypeRouter, get_default_application

from cqrs.transport.process import StartError
from cqrssite.asgi_apps import Application, ByPath, Lifespan, refuse_socket


class GatewayApplication(ProtocolTypeRouter):
    """Serves by what `open` makes, the gateway of this process; a server without lifespan opens it by itself."""

    open: Callable[[], AbstractAsyncContextManager[object]]


def gateway(http: Any, *, websocket: Application = refuse_socket, root: bool = False) -> GatewayApplication:
    """The application of a project, with /graphql, /healthz and /readyz beside the project's own pages.

    http, websocket: what serves all other paths. root: "/" serves GraphQL too.
    """
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    from cqrssite import wiring
    from cqrssite.graphql.context import WebSettings
    from cqrssite.graphql.http.endpoint import GraphQLEndpoint
    from cqrssite.graphql.websocket.consumer import GraphQLConsumer
    from cqrssite.readiness import Probes

    # Whitenoise hands static files over as streams, which Django reads whole under ASGI, with a warning.
    warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")

    web = WebSettings.current()
    graphql: Any = GraphQLEndpoint(wiring.current, web)
    sockets: Any = GraphQLConsumer.as_asgi(gateway=wiring.current, settings=web)
    probes = Probes(wiring.current)
    paths = ["/graphql", *(["/"] if root else [])]
    # Only Django wants to know what a proxy on this machine says of who asks, and by which scheme.
    others: Any = ProxyHeadersMiddleware(http)
    application = GatewayApplication({})
    application.open = wiring.gateway
    application.application_mapping = {
        "http": ByPath({**dict.fromkeys(paths, graphql), "/healthz": probes, "/readyz": probes}, others),
        "websocket": ByPath(dict.fromkeys(paths, sockets), websocket),
        "lifespan": Lifespan(lambda: application.open()),
    }
    return application


def project_ring() -> GatewayApplication:
    """The same, which opens the whole ring in its process. Raises StartError."""
    from cqrssite import wiring

    application = project_gateway()
    application.open = wiring.ring
    return application


def project_gateway() -> GatewayApplication:
    """What ASGI_APPLICATION names. Raises StartError where that is no gateway."""
    application = get_default_application()
    if not isinstance(application, GatewayApplication):
        raise StartError(
            "ASGI_APPLICATION names no gateway: make it one by `application = gateway(get_asgi_application())`"
        )
    return application
