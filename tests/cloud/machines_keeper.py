"""The first process in the namespace of a fake EC2's machines: reaps what ends there and says "PID STATUS" of it.

It ends when its owner ends (a pidfd, its argument) or closes its standard input; the kernel then kills everything in its PID namespace, and with
the last process the mount namespace goes, and with the mounts their loop devices.
"""
import ctypes
import os
import select
import signal
import sys


def reap():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        print(pid, status, flush=True)


def main():
    owner = int(sys.argv[1])
    signal.signal(signal.SIGCHLD, lambda *_: None)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    ctypes.CDLL(None).prctl(15, b"kiln-ec2-keeper", 0, 0, 0)  # PR_SET_NAME
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([owner, sys.stdin, woken], [], [])
        if woken in ready:
            try:
                os.read(woken, 4096)
            except BlockingIOError:
                pass
            reap()
        if owner in ready or sys.stdin in ready:
            return


main()
