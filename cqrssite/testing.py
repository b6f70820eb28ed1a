"""For tests of code that sends commands: see `cqrs.testing`."""

from cqrs.testing import commands_take_effect_at_once

__all__ = ["commands_take_effect_at_once"]
