#!/bin/sh
# Starts a Redis whose settings change as it runs: what Sentinels or a Cluster decide, it writes into its own folder.
#   start-redis.sh master | node
#   start-redis.sh replica | sentinel ADDRESS_OF_THE_MASTER
set -eu
umask 077
role=$1 master=${2:-}

settings() {
  cat /etc/wxlogin/redis.conf /run/secrets/replica.conf
  echo "repl-diskless-sync-delay 0"  # nobody else will join meanwhile
  case $role in
    replica) printf '%s\n' "replicaof $master 6379" ;;
    node) printf '%s\n' "cluster-enabled yes" "cluster-node-timeout 2000" "cluster-require-full-coverage no" ;;
  esac
}

watching() {
  printf '%s\n' "dir /data" "protected-mode no" "sentinel monitor mymaster $master 6379 2"
  printf 'sentinel %s\n' "down-after-milliseconds mymaster 2000" "failover-timeout mymaster 10000"
  cat /run/secrets/sentinel.conf
}

if [ "$role" = sentinel ]; then
  [ -f /data/sentinel.conf ] || watching >/data/sentinel.conf
  exec redis-server /data/sentinel.conf --sentinel
fi
[ -f /data/redis.conf ] || settings >/data/redis.conf
exec redis-server /data/redis.conf
