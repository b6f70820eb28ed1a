"""MQTT topics. The first three are the contract; one command a message, binary protobuf."""

ADD = "CONTACT/ADD"  # Contact
UPDATE = "CONTACT/UPDATE"  # Contact
DELETE = "CONTACT/DELETE"  # ContactReference

# Ours. An implementation that knows only the contract never sees them.
BATCH = "CONTACT/BATCH"  # CommandBatch, up to BATCH_SIZE commands, in order
CANCEL = "CONTACT/CANCEL"  # CommandBatch of cancelled commands
HELLO = "CONTACT/HELLO"  # empty: a writer has subscribed and may have missed what was sent before

BATCH_SIZE = 100

# A message over this is refused by every process of ours, in bytes.
MAX_PAYLOAD = 1024 * 1024
