"""What Django itself serves: the admin. GraphQL and the probes are ASGI applications beside it (`asgi`)."""

from django.contrib import admin
from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
    # Browsers ask for it on pages of the admin, which name no icon.
    path("favicon.ico", lambda _request: HttpResponse(status=204)),
]
