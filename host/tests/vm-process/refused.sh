#!/bin/sh
# Stands in for a VM process: refuses its machine as a host that cannot.
echo "plinth: this host has no room" >&2
exit 3
