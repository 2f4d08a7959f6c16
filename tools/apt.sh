#!/usr/bin/env bash
# Outside clients and tools for the tests, as packages of Debian: where root may install them, and one is missing. Nothing here
# fails, and without a network it is over soon: tests whose program is missing say that they were skipped.
set -uo pipefail
cd "$(dirname "$0")/.."

# A program, and the package that has it.
programs="ncat:ncat socat:socat telnet:telnet strace:strace ss:iproute2 ip:iproute2 redis-server:redis-server zsh:zsh fish:fish
openssl:openssl curl:curl rev:bsdextrautils mbpoll:mbpoll memccapable:libmemcached-tools mosquitto_pub:mosquitto-clients
swaks:swaks logger:bsdutils haproxy:haproxy stunnel4:stunnel4 sslscan:sslscan testssl:testssl.sh dig:bind9-dnsutils wrk:wrk"

missing=
for each in $programs; do
    command -v "${each%:*}" > /dev/null || missing="$missing ${each#*:}"
done
if [ -z "$missing" ] || [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    exit 0
fi
# What could not be had a moment ago is not asked for again by the next target.
tried=build/apt-tried
if [ "$(cat "$tried" 2> /dev/null)" = "$missing" ] && [ -n "$(find "$tried" -mmin -30)" ]; then
    exit 0
fi
mkdir -p build
echo "$missing" > "$tried"

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 \
        -o DPkg::Lock::Timeout=60 "$@" < /dev/null > /dev/null 2>&1
}

# Downloads may be cut off; what is installed comes from what was downloaded.
export -f apt
timeout 60 bash -c 'apt update'
known=
for each in $missing; do
    if apt-cache show "$each" > /dev/null 2>&1; then
        known="$known $each"
    fi
done
if [ -n "$known" ]; then
    timeout 300 bash -c "apt install -y --download-only $known"
    # One that cannot be installed keeps no other one out.
    apt install -y --no-download $known || for each in $known; do apt install -y --no-download "$each"; done
fi
exit 0
