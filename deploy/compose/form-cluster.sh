#!/bin/sh
# Makes a Cluster of six nodes that are up, three masters with a replica each; does nothing if they are one.
#   form-cluster.sh THE_FIRST_THREE_NUMBERS_OF_THEIR_ADDRESSES
set -eu
REDISCLI_AUTH=$(cat /run/secrets/admin_password)
export REDISCLI_AUTH

ask() { redis-cli -h "$1.11" --user admin cluster "$2"; }
is_well() { ask "$1" info | grep -q '^cluster_state:ok' && [ "$(ask "$1" nodes | grep -c slave)" = 3 ]; }

if ask "$1" info | grep -q '^cluster_known_nodes:1\b'; then
  redis-cli --user admin --cluster create "$1.11:6379" "$1.12:6379" "$1.13:6379" "$1.14:6379" "$1.15:6379" "$1.16:6379" \
    --cluster-replicas 1 --cluster-yes >/dev/null
fi
for _ in $(seq 60); do
  is_well "$1" && exit 0
  sleep 1
done
echo "the nodes did not become a Cluster" >&2
exit 1
