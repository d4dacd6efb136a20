"""The program works as in the container: an ordinary user, a read-only root file system, and the image's variables."""

import shlex
from datetime import UTC, datetime

import yaml

from oktawatch.simulator import SimulatedOrg, running
from tests.support.containerfile import image_variables, instructions
from tests.support.logclient import event
from tests.support.private_machine import run_privately

SCRIPT = """\
mkdir -p /run/secrets /etc/oktawatch /var/lib/oktawatch
printf '%s' "$TOKEN" > /run/secrets/okta.token
printf '[[orgs]]\\nname = "acme"\\nurl = "%s"\\ntoken_file = "okta.token"\\n' "$URL" > /etc/oktawatch/oktawatch.toml
chown "$IMAGE_USER" /run/secrets/okta.token /var/lib/oktawatch
chmod 400 /run/secrets/okta.token
mount --bind /var/lib/oktawatch /var/lib/oktawatch
for part in / /etc /opt /run /usr/local/sbin /var/lib; do mount -o remount,bind,ro "$part"; done
mount -t tmpfs tmpfs /tmp
cd /var/lib/oktawatch
inside=(setpriv --reuid="$IMAGE_USER" --regid="$IMAGE_USER" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all)
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for part in / /etc/oktawatch /opt /run /var/lib; do
    if touch "$part/written"; then exit 3; fi
done
"${inside[@]}" oktawatch check
"${inside[@]}" $COMMAND &
until "${inside[@]}" sh -c "$HEALTH_CHECK" 2>/dev/null; do sleep 0.2; done
until "${inside[@]}" oktawatch status > /tmp/status; do sleep 0.2; done
cat /tmp/status
"${inside[@]}" oktawatch alerts list
kill -TERM %1
wait %1
"""


def test_the_daemon_runs_on_a_read_only_root() -> None:
    """Check, daemon, health check and other commands work, and SIGTERM ends the daemon with 0."""
    org = SimulatedOrg()
    org.persist(event(1, datetime.now(UTC), securityContext={"isProxy": True}))
    words = yaml.safe_load(instructions("ENTRYPOINT")[0]) + yaml.safe_load(instructions("CMD")[-1])
    health = yaml.safe_load(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    variables = image_variables()
    variables["PATH"] += ":/usr/sbin:/sbin"  # for mount and chown in the script
    with running(org) as url:
        done = run_privately(
            SCRIPT,
            {
                **variables,
                "URL": url,
                "TOKEN": org.token,
                "IMAGE_USER": instructions("USER")[0],
                "COMMAND": shlex.join(words),
                "HEALTH_CHECK": shlex.join(health),
            },
        )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "its System Log can be read" in done.stdout
    assert "MEDIUM" in done.stdout
    assert org.token not in done.stdout + done.stderr
