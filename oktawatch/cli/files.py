"""``oktawatch files``: list or print the files that ship with the program."""

from typing import Annotated

import typer

from oktawatch.cli.exits import DONE, UsageError
from oktawatch.cli.options import Debug, Json, UnusedConfigFile
from oktawatch.cli.output import print_json


def files(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The file to print. Default: list all.", show_default=False),
    ] = None,
    _config: UnusedConfigFile = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> int:
    """List the files that ship with the program.

    With NAME, print this file.

    The files include an example configuration, systemd units, container and Kubernetes examples, Prometheus alert rules,
    a Grafana dashboard and SQL recipes.
    """
    from oktawatch import shipped

    names = list(shipped.names())
    if name is not None and name not in names:
        raise UsageError(f"no such file ({name}): there are: {', '.join(names)}")
    if as_json:
        shown = names if name is None else [name]
        print_json([{"name": file, "path": str(shipped.folder() / file)} for file in shown])
    elif name is None:
        print("\n".join(names))
    else:
        print(shipped.read(name), end="")
    return DONE
