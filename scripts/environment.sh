# Sourced by scripts/up and scripts/test: makes .venv from the lock files, or leaves it alone when it is up to date.
#
#   make_environment LOCK...    afterwards $VENV/bin/python has everything that the locks name, and this project
#
# LOOP_VENV puts the environment elsewhere, PYTHON chooses the interpreter. pip's own configuration is used as it is.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$(realpath -m -- "${LOOP_VENV:-$ROOT/.venv}")"
PIP_LOG="$VENV/install.log"

say() { printf '%s\n' "$*" >&2; }

is_fitting() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; }

version_of() { "$1" --version 2>/dev/null || echo "no Python that runs"; }

find_python() {
    local candidate seen=""
    if [[ -n "${PYTHON:-}" ]]; then
        is_fitting "$PYTHON" && command -v "$PYTHON" && return
        say "error: PYTHON names Python 3.11, 3.12 or 3.13: got $PYTHON ($(version_of "$PYTHON"))."
        say "Correct it, or unset PYTHON to have one looked for."
        return 3
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        is_fitting "$candidate" && command -v "$candidate" && return
        command -v "$candidate" >/dev/null && seen+="${seen:+, }$candidate ($(version_of "$candidate"))"
    done
    say "error: Python 3.11, 3.12 or 3.13 is needed: got ${seen:-none at all}."
    say "Install one (on Debian and Ubuntu: apt-get install python3 python3-venv), or name it: PYTHON=/path/to/python3"
    return 3
}

# The environment is up to date when the stamp that the last finished installation left bears this fingerprint: the
# locks', the project's own metadata, and the place (an environment that was moved or copied does not work).
fingerprint() {
    local file
    { echo "$ROOT"; for file in "$@" pyproject.toml; do cat "$ROOT/$file"; done; } | sha256sum | cut -d' ' -f1
}

stamp_of() { printf '%s/.installed-%s' "$VENV" "$(printf '%s' "$*" | tr -c 'a-z0-9' '-')"; }

is_current() {
    local stamp
    stamp="$(stamp_of "$@")"
    [[ -f "$stamp" && "$(<"$stamp")" == "$(fingerprint "$@")" ]] && "$VENV/bin/python" -c '' 2>/dev/null
}

create_venv() {
    local python
    if [[ -d "$VENV" && ! -f "$VENV/pyvenv.cfg" && -n "$(ls -A "$VENV")" ]]; then
        say "error: the environment's folder is one that this may empty: got $VENV, which holds something else."
        say "Move that away, or name another folder: LOOP_VENV=DIR"
        return 3
    fi
    python="$(find_python)" || return 3
    say "Creating $VENV with $(version_of "$python") ..."
    "$python" -m venv --clear "$VENV" && "$VENV/bin/python" -m pip --version >/dev/null && return
    say "error: $python makes virtual environments: it could not. On Debian and Ubuntu: apt-get install python3-venv"
    return 3
}

# pip says a lot, thousands of lines where it is configured with many folders: all of it goes to a file.
pip_install() { "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off "$@" >>"$PIP_LOG" 2>&1; }

install_locks() {
    local lock requirements=()
    for lock in "$@"; do requirements+=(-r "$ROOT/$lock"); done
    pip_install "${requirements[@]}" && pip_install --no-deps --no-build-isolation -e "$ROOT"
}

# While pip unpacks, for minutes, its log grows no more: the packages that are in place are counted.
what_pip_does() {
    awk -v placed="$(compgen -G "$VENV/lib/python3*/site-packages/*.dist-info" | wc -l)" '
        /^(Collecting|Processing) /{found++; last = "found " found " packages, now " $2; sub(/[^ ]*\//, "", last)}
        /^Installing collected/{last = "unpacking " NF - 3 " packages, now " placed " are in place"}
        END{print last ? last : "starting"}' "$PIP_LOG" 2>/dev/null
}

# One line, rewritten each second on a terminal; elsewhere a line each half minute. Ends with this script.
show_progress() {
    local started=$SECONDS
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        if [[ -t 2 ]]; then
            printf '\r\033[K%.79s' "[$(printf '%4d' $((SECONDS - started))) s] installing: $(what_pip_does)" >&2
        elif (((SECONDS - started) % 30 == 0)); then
            say "[$(printf '%4d' $((SECONDS - started))) s] installing: $(what_pip_does)"
        fi
    done
}

# Gives 130 after Ctrl-C, which pip takes for a failure of its own.
install_watched() {
    local ticker status=0 interrupted=""
    trap 'interrupted=1' INT
    show_progress 9>&- &
    ticker=$!
    install_locks "$@" || status=$?
    trap - INT
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null
    [[ -t 2 ]] && printf '\r\033[K' >&2
    [[ -n "$interrupted" ]] && return 130
    return "$status"
}

tell_failure() {
    say "error: the installation failed. pip's last words:"
    sed -e '/^WARNING: Location .* is ignored/d' -e '/^Looking in /d' "$PIP_LOG" | tail -n 20 | sed 's/^/    /' >&2
    say "Everything that it said: $PIP_LOG"
    say "Once the cause is mended, run this again."
}

make_environment() {
    local started=$SECONDS status=0
    is_current "$@" && return
    mkdir -p "$(dirname "$VENV")" || return 3
    # Only one installation at a time; a second one waits and then finds the stamp.
    if command -v flock >/dev/null; then
        exec 9>"$VENV.lock"
        flock -n 9 || { say "Waiting for another installation into $VENV ..." && flock 9; }
        is_current "$@" && { exec 9>&-; return; }
    fi
    { is_fitting "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; } || create_venv || return
    say "Installing what stands in $*; the first time takes minutes ..."
    # From here on the environment is neither the old one nor the new: a killed installation must be made again.
    rm -f "$VENV"/.installed-*
    : >"$PIP_LOG"
    install_watched "$@" || status=$?
    if ((status == 130)); then
        say "Interrupted. Run this again to install the rest."
        return 130
    elif ((status)); then
        tell_failure "$@"
        return 1
    fi
    fingerprint "$1" >"$(stamp_of "$1")"
    fingerprint "$@" >"$(stamp_of "$@")"
    say "Installed in $((SECONDS - started)) s: $VENV ($(du -sh "$VENV" | cut -f1))"
    command -v flock >/dev/null && exec 9>&-
    return 0
}
