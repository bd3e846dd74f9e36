#!/bin/bash
# Stands in for docker-entrypoint.sh of the postgres image: the same variables, folders and initdb scripts.
set -eu
PGDATA="${PGDATA:-/var/lib/postgresql/data}"
POSTGRES_USER="${POSTGRES_USER:-postgres}"
POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"
export PGDATA POSTGRES_USER POSTGRES_DB

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" && chown -R postgres "$PGDATA" && chmod 700 "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --clear-groups --inh-caps -all "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password="$(mktemp)"
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        cat "$POSTGRES_PASSWORD_FILE" >"$password"
    else
        printf '%s' "$POSTGRES_PASSWORD" >"$password"
    fi
    initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$password" -E UTF8 --no-locale --no-sync >/dev/null
    rm "$password"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -w -o "-c listen_addresses='' -c unix_socket_directories=/tmp -c fsync=off" start
    export PGHOST=/tmp
    [ "$POSTGRES_DB" = postgres ] || createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
            *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
            *.sql) psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$script" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
[ "$1" = postgres ] || exec "$@"
shift
exec postgres -c listen_addresses='*' "$@"
