"""A process that only sends commands loads no service: neither gRPC nor uvloop nor an MQTT client."""

import json
import subprocess
import sys

CODE = """
import json, sys
import django
django.setup()
from contacts_write import add_contact
print(json.dumps([name for name in ("grpc", "uvloop", "aiomqtt", "paho", "amqtt") if name in sys.modules]))
"""


def test_the_python_functions_load_no_service():
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == []
