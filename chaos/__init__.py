"""Breaks a whole running system on purpose, and checks from the outside that it kept its promises.

`trial` starts the real processes (`system`) with proxies between them (`proxy`), sends load (`load`) and watches
(`watch`) while a seeded `schedule` of faults strikes; what was said and seen is the `history` the `checker` judges.
"""
