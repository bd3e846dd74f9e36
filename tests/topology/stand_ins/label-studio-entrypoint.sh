#!/bin/sh
# Stands in for deploy/docker-entrypoint.sh of Label Studio's image: it reads the same files of variables, and the
# package's own `label-studio` is the command.
set -eu
IFS=,
for source in ${ENV_INJECT_SOURCES:-}; do
    if [ -f "$source" ]; then
        . "$source"
    fi
done
unset IFS
exec "$@"
