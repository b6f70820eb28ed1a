"""What contacts have in the schema besides what every aggregate has: a name of the Go example's README."""

ALIASES = {"contact": {"get_contact": "Another name of contact."}}
"""By aggregate: other names of the query of one, with their descriptions."""
