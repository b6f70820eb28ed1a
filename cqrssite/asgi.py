"""The gateway of the site, the same under uvicorn and daphne."""

import os

from django.core.asgi import get_asgi_application

from cqrssite.gateway import gateway

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cqrssite.settings")
application = gateway(get_asgi_application(), root=True)
