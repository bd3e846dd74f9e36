#!/bin/bash
# Run by the postgres image when its volume is empty: a database for Label Studio and a database for the loop's store,
# each with a role that owns this database and nothing else.
set -euo pipefail

secrets="${SECRETS_FOLDER:-/run/secrets-postgres}"

make_database() {
    local name="$1" password
    password="$(cat "$secrets/$2")"
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --quiet \
        --set "name=$name" --set "password=$password" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
}

make_database label_studio label_studio_database_password
make_database loop store_database_password
