"""``oktawatch init``: write a configuration, in a folder or as a systemd service."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from oktawatch.cli.check import check
from oktawatch.cli.exits import DONE, FAILED, UsageError
from oktawatch.cli.options import Debug, UnusedConfigFile
from oktawatch.cli.output import note
from oktawatch.cli.program import program

_Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR", help="Folder for the files. Default: the working directory.", show_default=False
    ),
]
_Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The org's URL, such as https://acme.okta.com. Default: ask for it.",
        show_default=False,
    ),
]
_Token = Annotated[
    str | None,
    typer.Option(
        metavar="-",
        help="Read the API token from standard input. Default: ask for it without showing it.",
        show_default=False,
    ),
]
_Systemd = Annotated[
    bool,
    typer.Option(
        "--systemd",
        help="Set up a service, as root: a user, /etc/oktawatch, units, and /usr/local/sbin/oktawatch, "
        "which runs the other commands as that user.",
    ),
]
_Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="With --systemd: write the files below this folder, to build an image or a package.",
        show_default=False,
    ),
]


def init(
    folder: _Folder = None,
    url: _Url = None,
    token: _Token = None,
    systemd: _Systemd = False,
    root: _Root = None,
    _config: UnusedConfigFile = None,
    debug: Debug = False,
) -> int:
    """Write a configuration and a token file.

    The configuration explains its keys. Both files are checked.

    No existing file is changed. For an OAuth service app instead of a token, start from
    'oktawatch files oktawatch.example.toml'.
    """
    if token is not None and token != "-":  # noqa: S105 -- no token
        raise UsageError(
            "other users can read a token on the command line (--token): revoke this token, and pass a new one to "
            "'--token -' on standard input"
        )
    if systemd and folder is not None:
        raise UsageError("DIR and --systemd exclude each other (init): leave one out")
    if root is not None and not systemd:
        raise UsageError("--root requires --systemd (init): add --systemd")
    if systemd:
        return _systemd(url, token, (root or Path("/")).absolute())
    return _in_folder(url, token, folder or Path(), debug=debug)


def _in_folder(url: str | None, token: str | None, folder: Path, *, debug: bool) -> int:
    from oktawatch.config.sources import FILE_NAME
    from oktawatch.config.starter import TOKEN_FILE, starter_configuration
    from oktawatch.service.new_files import NewFile, create_files, require_absent

    config, token_file = folder / FILE_NAME, folder / TOKEN_FILE
    require_absent([config, token_file])  # before asking anything
    url, token = _org_url(url), _org_token(token)
    create_files(
        [
            NewFile(path=token_file, content=f"{token}\n".encode(), mode=0o600),
            NewFile(path=config, content=starter_configuration(url).encode(), mode=0o600),
        ],
        folder_mode=0o700,
    )
    print(f"Created {config} and {token_file}, which only you can read.\n", flush=True)
    code = check(config=config, debug=debug)
    option = "" if folder == Path() else f" --config {shlex.quote(str(config))}"
    name = program()
    if code != DONE:
        note(f"error: a check failed ({config}): correct it, then run '{name} check{option}'")
        return FAILED
    print(
        f"\nNext:\n  {name} backfill --since 7d --dry-run{option}    # last week's alerts; writes nothing"
        f"\n  {name} run{option}    # from now on"
    )
    return DONE


def _systemd(url: str | None, token: str | None, root: Path) -> int:
    from oktawatch.service import systemd_setup

    on_this_machine = root == Path("/")
    if on_this_machine and not systemd_setup.is_root():
        raise UsageError("not permitted (init --systemd): run it as root, with sudo")
    systemd_setup.require_new(root)  # before asking anything
    created = systemd_setup.set_up_systemd(_org_url(url), _org_token(token), root=root)
    print(f"Created the user oktawatch and{'' if on_this_machine else f', below {root}'}:")
    for file in created.files:
        print(f"  {file}")
    protection = "encrypted with the key of this machine" if created.encrypted else "readable only by root"
    print(f"The token is {protection}.", flush=True)
    if on_this_machine and not _check_as_service(systemd_setup.WRAPPER):
        note(
            f"error: a check failed ({systemd_setup.CONFIGURATION}): correct it, then run 'sudo oktawatch check'"
        )
        return FAILED
    print(
        "\nNext:\n  sudo systemctl daemon-reload && sudo systemctl enable --now oktawatch"
        "\n  sudo oktawatch status    # like this, every command runs as the service user"
    )
    return DONE


def _check_as_service(wrapper: Path) -> bool:
    """Run `oktawatch check` as the service user. Return whether all checks passed."""
    import subprocess

    print(flush=True)
    return subprocess.run([wrapper, "check"], check=False).returncode == DONE  # noqa: S603 -- just created


def _org_url(given: str | None) -> str:
    """Return the org's URL in the form that the settings accept. Ask for a missing URL."""
    from oktawatch.config.validators import correct_org_url

    if given is None:
        return _ask("--url", "URL of your Okta org (https://acme.okta.com)", _visible_answer, correct_org_url)
    try:
        url = correct_org_url(given)
    except ValueError as error:
        raise UsageError(f"wrong value (--url): {error}") from None
    if url != given:
        note(f"using {url}")
    return url


def _org_token(given: str | None) -> str:
    """Return the API token. With ``--token -``, read it from a file or pipe. Otherwise ask for it on the terminal."""
    if given is None or sys.stdin.isatty():
        return _ask("--token -", "API token (not shown)", _hidden_answer, _checked_token)
    try:
        return _checked_token(sys.stdin.readline())
    except ValueError as error:
        raise UsageError(f"wrong value (--token): {error}") from None


def _checked_token(text: str) -> str:
    from oktawatch.config.secrets import parse_secret

    token = parse_secret(text).get_secret_value()
    if not token.isascii():
        raise ValueError("expected an API token as Okta shows it, in ASCII")
    return token


def _ask(option: str, question: str, answer: Callable[[str], str], parse: Callable[[str], str]) -> str:
    """Ask on the terminal until the answer is valid. Raise UsageError if there is no terminal or no answer."""
    if not sys.stdin.isatty():
        raise UsageError(f"missing {option} (init): required if standard input is not a terminal")
    while True:
        try:
            return parse(answer(f"{question}: "))
        except ValueError as error:
            note(f"That can't be used: {error}")
        except EOFError:
            raise UsageError(f"no answer (init): run it again, or use {option}") from None


def _visible_answer(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _hidden_answer(prompt: str) -> str:
    import getpass

    return getpass.getpass(prompt, stream=sys.stderr)
