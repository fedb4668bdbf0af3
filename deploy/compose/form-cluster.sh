#!/bin/sh
# Makes a Cluster of six nodes that are up, three masters with a replica each; does nothing if they are one.
#   form-cluster.sh THE_FIRST_THREE_NUMBERS_OF_THEIR_ADDRESSES
set -eu
REDISCLI_AUTH=$(cat /run/secrets/admin_password)
export REDISCLI_AUTH

ask() { address=$1 && shift && redis-cli -h "$address" --user admin "$@"; }

# One node knows the others up to a second before they know each other, and a replica may still be copying.
is_well() {
  ask "$1" cluster info | grep -q '^cluster_state:ok' &&
    [ "$(ask "$1" cluster nodes | grep -Ec ' (myself,)?(master|slave) ')" = 6 ] &&
    [ "$(ask "$1" cluster nodes | grep -Ec ' (myself,)?slave ')" = 3 ] &&
    ! ask "$1" info replication | grep -q '^master_link_status:down'
}
are_well() { for node in 11 12 13 14 15 16; do is_well "$1.$node" || return 1; done; }

if ask "$1.11" cluster info | grep -q '^cluster_known_nodes:1\b'; then
  redis-cli --user admin --cluster create "$1.11:6379" "$1.12:6379" "$1.13:6379" "$1.14:6379" "$1.15:6379" "$1.16:6379" \
    --cluster-replicas 1 --cluster-yes >/dev/null
fi
for _ in $(seq 60); do
  are_well "$1" && exit 0
  sleep 1
done
echo "the nodes did not become a Cluster" >&2
exit 1
