from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "cqrssite"
    verbose_name = "Contacts: gateway"
