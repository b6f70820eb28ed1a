"""What Django itself serves: the admin, and static files. GraphQL and the probes are beside it (`cqrssite.gateway`)."""

from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    # Browsers ask for it on pages of the admin, which name no icon.
    path("favicon.ico", lambda _request: HttpResponse(status=204)),
    path("", include("cqrssite.graphql.urls")),
]
