#!/bin/sh
# The server takes the password of its databases from a variable only: it comes from the secret's file at the last moment.
set -eu
POSTGRES_PWD="$(cat /run/secrets/temporal-db-password)"
export POSTGRES_PWD
exec /etc/temporal/entrypoint.sh
