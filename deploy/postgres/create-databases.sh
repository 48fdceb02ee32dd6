#!/bin/sh
# Run once, by the first start of PostgreSQL's image: a role and databases each for Steward and for Temporal. Neither
# role can do anything beyond its own databases.
set -eu
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
  --set steward_password="$(cat /run/secrets/steward-db-password)" \
  --set temporal_password="$(cat /run/secrets/temporal-db-password)" <<'SQL'
CREATE ROLE steward LOGIN PASSWORD :'steward_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE steward OWNER steward;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE CONNECT ON DATABASE steward, temporal, temporal_visibility FROM PUBLIC;
SQL
