"""The simulator is written from Fly's facts, not from the client it tests."""

import subprocess
import sys


def test_the_simulator_loads_neither_the_adapters_nor_the_jobs() -> None:
    code = (
        "import sys, flykeep.testing.flysim.serve\n"
        "print([n for n in sys.modules if n.startswith(('flykeep.adapters', 'flykeep.jobs', 'flykeep.worker'))])"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert ended.stdout.strip() == "[]"
