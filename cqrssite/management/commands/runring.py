"""`manage.py runring`: gateway, delay, apply and notices in one process."""

from cqrssite.gateway import project_ring
from cqrssite.management.commands import rungateway


class Command(rungateway.Command):
    help = (
        "Runs the whole ring in this process, on its databases alone: neither broker nor services. Where these are"
        " started instead (runstack), they go on with the commands that wait, and the other way round."
    )
    application = staticmethod(project_ring)
