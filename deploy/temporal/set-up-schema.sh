#!/bin/sh
# Brings Temporal's two databases to the schema of this version; may be run again, and is what an upgrade runs first.
set -eu
SQL_PASSWORD="$(cat /run/secrets/temporal-db-password)"
export SQL_PASSWORD
for part in temporal visibility; do
  if [ "$part" = temporal ]; then database=temporal; else database=temporal_visibility; fi
  tool="temporal-sql-tool --plugin postgres12 --ep postgres -p 5432 -u temporal --db $database"
  $tool setup-schema -v 0.0
  $tool update-schema -d "/etc/temporal/schema/postgresql/v12/$part/versioned"
done
