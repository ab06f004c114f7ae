#!/bin/sh
# Has apt read Debian's archive as it was at a time, if one is given: apt-snapshot 20260922T000000Z
set -eu
[ -n "${1:-}" ] || exit 0
sources=${APT_SOURCES:-/etc/apt/sources.list.d/debian.sources}
sed -i -E "s#^URIs: https?://deb\.debian\.org/(debian(-security)?)/?\$#URIs: http://snapshot.debian.org/archive/\1/$1#" "$sources"
grep -q "snapshot.debian.org/archive/debian/$1" "$sources"
# Their signed lists have expired since.
echo 'Acquire::Check-Valid-Until "false";' > "${APT_CONF:-/etc/apt/apt.conf.d}/90snapshot"
