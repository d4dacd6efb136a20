#!/bin/sh
# Run oktawatch as the service user, with the service's configuration and credentials:
#
#   sudo oktawatch status
#   sudo oktawatch backfill --since 7d --dry-run
#
# The credentials are those of oktawatch.service and its drop-ins: their lines LoadCredential= and
# LoadCredentialEncrypted=. They are copied into a folder that only the service user can read, and that is removed
# when the command ends.
set -eu

program=/opt/oktawatch/bin/oktawatch
user=oktawatch
configuration=/etc/oktawatch/oktawatch.toml
units=/etc/systemd/system
state=/var/lib/oktawatch
runtime=/run

if [ "$(id -u)" != 0 ]; then
    echo "error: not permitted (oktawatch): run it as root: sudo oktawatch $*" >&2
    exit 2
fi

credentials=$(mktemp -d "$runtime/oktawatch-XXXXXXXX")
# Ctrl-C also interrupts the command, which ends it. This shell must survive the signal to delete the credentials.
trap : INT TERM HUP QUIT
trap 'rm -rf "$credentials"' EXIT

# Print the values of a key in oktawatch.service and its drop-ins. An empty value only resets the list.
values() {
    cat "$units/oktawatch.service" "$units"/oktawatch.service.d/*.conf 2>/dev/null | sed -n "s/^$1=\(..*\)/\1/p"
}

umask 077
values LoadCredential | while IFS=: read -r name file; do
    cat "${file:-/etc/credstore/$name}" > "$credentials/$name"
done
values LoadCredentialEncrypted | while IFS=: read -r name file; do
    systemd-creds decrypt --name="$name" "${file:-/etc/credstore.encrypted/$name}" "$credentials/$name"
done
chown -R "$user:" "$credentials"
install -d -o "$user" -g "$(id -gn "$user")" -m 750 "$state"

export CREDENTIALS_DIRECTORY="$credentials" STATE_DIRECTORY="$state" OKTAWATCH_CONFIG="$configuration"
status=0
setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups --inh-caps=-all --no-new-privs \
    "$program" "$@" || status=$?
exit "$status"
