from __future__ import annotations

import subprocess
import sys


def run(script: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def found(new_objects: int) -> int:
    """Return whether a cycle is found while so many objects are made that stay."""
    return run(f"""
from tunecnn.process import collect_garbage_seldom
collect_garbage_seldom()
class Node:
    def __del__(self): found.append(1)
found = []
node = Node()
node.itself = node
del node
keep = [[] for _ in range({new_objects})]
print(len(found))
""")


def test_garbage_is_looked_for_seldom_but_it_is():
    assert found(new_objects=10_000) == 0
    assert found(new_objects=1_000_000) == 1


def test_nothing_is_looked_for_at_the_end():
    frozen = run("""
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count()))
from tunecnn.process import collect_garbage_seldom
collect_garbage_seldom()
""")
    assert frozen > 1000


def test_two_interrupts_wait_until_what_is_written_at_once_is_written():
    assert (
        run("""
import os, signal
from tunecnn.process import Interrupts, interrupts_held
done = []
try:
    with Interrupts() as interrupts, interrupts.deferred():
        with interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("whole")
        done.append("late")
except Exception as error:
    assert str(error).startswith("ended at once")
    print(len(done))
""")
        == 1
    )
