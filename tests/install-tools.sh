#!/bin/sh
# Chromium (card page) and SoftHSM2 (keys on a token) for the tests that need them. They are no Python packages: where
# this runs as root beside apt-get they are installed, elsewhere it says what to install. Without them those tests are
# skipped, each saying why.
set -u
missing=""
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 \
    || command -v google-chrome >/dev/null 2>&1 || missing="chromium"
command -v softhsm2-util >/dev/null 2>&1 || missing="$missing softhsm2"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing $missing for the browser and token tests (once) ..."
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of names
    { timeout 120 apt-get update -q && timeout 300 apt-get install -y -q --no-install-recommends $missing; } \
        >/dev/null 2>&1 && exit 0
    echo "They could not be installed."
fi
echo "Not found: $missing. The tests that need them are skipped; with them installed they run."
exit 0
