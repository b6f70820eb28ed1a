"""What Django itself serves: the admin. GraphQL and the probes are ASGI applications beside it (`asgi`)."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
