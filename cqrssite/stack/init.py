"""The duty of a container's first process: to reap the orphans that the system gives it as children."""

import contextlib
import os
import signal
import sys

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_as_child_of_init(*, init_pid: int = 1) -> None:
    """Returns at once, unless this process has the pid `init_pid`: then in a child, which does the work.

    The first process itself passes signals on, reaps every process that ends, and ends with the child and its status.
    To be called before any thread is started. (The work needs a process of its own, because the event loop waits for
    its processes one by one, and would wait for ever for one that was reaped in its place.)
    """
    if os.getpid() != init_pid:
        return
    child = os.fork()
    if not child:
        # Out of the terminal's group, or Ctrl-C would come twice, and a second signal kills at once.
        os.setsid()
        return
    for number in _FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: _pass_on(child, number))
    ended = status = 0
    while ended != child:
        ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
