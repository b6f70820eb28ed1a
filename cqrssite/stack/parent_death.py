"""Starts a command that ends when its parent ends, however that happens: `parent_death.py PARENT_PID COMMAND ...`.

It is a program of its own, since a process with threads may run no Python between fork and exec.
Elsewhere than on Linux the command is started all the same, and outlives a parent that is killed.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # Kept across exec. SIGKILL, since nobody would be left to kill a process that does not heed SIGTERM.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent ended before the start")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
