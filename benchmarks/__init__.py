"""What the figures of README and docs/performance.md come from: the real processes, under load, on this machine."""
