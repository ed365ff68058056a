"""What the machine is told once, for all rooms."""

from __future__ import annotations

import subprocess
import sys

#: The next performance begins while what prepares the one before is still loading torch.
AT_ONCE = """
import sys, threading, threadpoolctl
from studio import config
threading.Thread(target=lambda: __import__("torch")).start()
while "torch" not in sys.modules:
    pass
with config.limited(1):
    print(sys.modules["torch"].get_num_threads())
"""


def test_threads_are_limited_while_another_thread_loads_torch():
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("1\n", "")
