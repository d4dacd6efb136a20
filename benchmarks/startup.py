"""Measure the processor time of short commands: `python -m benchmarks.startup`.

Each command runs several times with compiled bytecode, as pip installs it. The lowest user and system time counts, because
other load can only add to it. Processor time depends less on other load than elapsed time does.
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile

from benchmarks import machine

LIMITS_S = {"--help": 0.25, "status": 0.6, "alerts list": 0.6}
"""The highest acceptable processor time of each command, in seconds."""
_CONFIGURATION = '[[orgs]]\nname = "acme"\nurl = "http://127.0.0.1:9"\ntoken = "00invented"\n'


def processor_time_s(command: list[str], folder: pathlib.Path) -> float:
    """Run a command, and return its user and system time in seconds. Raises ClientError if the command failed."""
    environ = machine.environment() | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # `status` exits with 1, because no poll has happened.
    if done.returncode not in {0, 1} or "error:" in done.stderr:
        raise machine.ClientError(f"{command} exited with {done.returncode}: {done.stderr[-2000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measured(runs: int) -> dict[str, float]:
    """Return the lowest processor time of each command and of the bare interpreter, in seconds."""
    program = [sys.executable, "-m", "oktawatch"]
    commands = {"python -c pass": [sys.executable, "-c", "pass"]}
    commands |= {words: [*program, *words.split()] for words in LIMITS_S}
    with tempfile.TemporaryDirectory(prefix="oktawatch-bench-") as name:
        folder = pathlib.Path(name)
        (folder / "oktawatch.toml").write_text(_CONFIGURATION)
        processor_time_s([*program, "db", "upgrade"], folder)
        for command in commands.values():
            processor_time_s(command, folder)  # compiles the bytecode
        return {
            name: min(processor_time_s(command, folder) for _ in range(runs))
            for name, command in commands.items()
        }


def main() -> int:
    """Measure, print and save the result. Return 1 if a command takes longer than its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    given = parser.parse_args()
    try:
        times = measured(given.runs)
    except machine.ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, seconds in times.items():
        limit = LIMITS_S.get(name)
        print(f"{name:16}{seconds:.2f} s" + (f"   (limit {limit:.2f} s)" if limit else ""))
    document = {"processor_time_s": times, "machine": machine.facts(pinned=False)}
    print(f"written to {machine.save('startup', document).relative_to(machine.ROOT)}")
    return int(any(times[name] > limit for name, limit in LIMITS_S.items()))


if __name__ == "__main__":
    sys.exit(main())
