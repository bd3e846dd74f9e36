# Sourced by scripts/up and scripts/test: makes .venv from the lock files, or leaves it alone when it is up to date.
#
#   make_environment LOCK...    afterwards $VENV/bin/python has everything that the locks name, and this project
#
# LOOP_VENV puts the environment elsewhere, PYTHON chooses the interpreter. pip's own configuration is used as it is.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${LOOP_VENV:-$ROOT/.venv}"

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "error: Python 3.11, 3.12 or 3.13 is needed and none was found. Install one, or name it: PYTHON=/path/to/python3"
    return 3
}

# The environment is up to date when the stamp that the last finished installation left bears this fingerprint: the
# locks', the project's own metadata, and the place (an environment that was moved or copied does not work).
fingerprint() {
    local file
    { echo "$ROOT"; for file in "$@" pyproject.toml; do cat "$ROOT/$file"; done; } | sha256sum | cut -d' ' -f1
}

install_locks() {
    local lock requirements=()
    for lock in "$@"; do requirements+=(-r "$ROOT/$lock"); done
    "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off -q "${requirements[@]}" &&
        "$VENV/bin/python" -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e "$ROOT"
}

create_venv() {
    local python
    python="$(find_python)" || return 3
    say "Creating $VENV with $("$python" --version) ..."
    "$python" -m venv --clear "$VENV" && "$VENV/bin/python" -m pip --version >/dev/null && return
    say "error: $python could not make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"
    return 3
}

stamp_of() { printf '%s/.installed-%s' "$VENV" "$(printf '%s' "$*" | tr -c 'a-z0-9' '-')"; }

is_current() {
    local stamp
    stamp="$(stamp_of "$@")"
    [[ -f "$stamp" && "$(<"$stamp")" == "$(fingerprint "$@")" ]] && "$VENV/bin/python" -c '' 2>/dev/null
}

make_environment() {
    local started=$SECONDS
    is_current "$@" && return
    # Only one installation at a time; a second one waits and then finds the stamp.
    if command -v flock >/dev/null; then
        exec 9>"$VENV.lock"
        flock 9
        is_current "$@" && { exec 9>&-; return; }
    fi
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || create_venv || return
    say "Installing what $* name; the first time takes minutes ..."
    if ! install_locks "$@"; then
        say "error: the installation failed; what pip said stands above. Run this again to go on where it stopped."
        return 1
    fi
    fingerprint "$1" >"$(stamp_of "$1")"
    fingerprint "$@" >"$(stamp_of "$@")"
    say "Installed in $((SECONDS - started)) s: $VENV ($(du -sh "$VENV" | cut -f1))"
    command -v flock >/dev/null && exec 9>&-
    return 0
}
