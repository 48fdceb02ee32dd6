#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, in deploy/secrets or the directory given: a CA, certificates for
# coordinator and nodes, tokens, a key for payloads, passwords. What is there is kept, so that it may be run again, and each file replaced by
# one of your own. Needs openssl.
set -eu
umask 077
directory=${1:-$(dirname "$0")/secrets}
days=${DAYS:-365}
# Containers run as other users than you, and see single files only: the directory is what keeps others out.
mkdir -p "$directory"
chmod 700 "$directory"
cd "$directory"

if [ ! -e ca.pem ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=Steward CA' \
    -keyout ca-key.pem -out ca.pem 2>/dev/null
fi

# $1: name of the files; $2: further names by which it is called
certificate() {
  if [ -e "$1.pem" ]; then return; fi
  names="DNS:$1,DNS:localhost,IP:127.0.0.1"
  for name in ${2:-}; do names="$names,DNS:$name"; done
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -addext "subjectAltName=$names" -addext 'extendedKeyUsage=serverAuth,clientAuth' \
    -keyout "$1-key.pem" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -days "$days" -copy_extensions copy -out "$1.pem" 2>/dev/null
  rm "$1.csr"
}
certificate coordinator 'coordinator-1 coordinator-2'
for node in 1 2 3; do certificate "node-$node"; done

random() {
  if [ ! -e "$1" ]; then openssl rand -hex 32 >"$1"; fi
}
random token
random codec-token
if [ ! -e payload-keys ]; then echo "$(date +%Y-%m-%d) $(openssl rand -base64 32)" >payload-keys; fi
random postgres-password
random steward-db-password
random temporal-db-password
random grafana-password
if [ ! -e database-url ]; then
  echo "postgresql://steward:$(cat steward-db-password)@postgres:5432/steward" >database-url
fi
for file in *; do chmod 644 "$file"; done
chmod 600 ca-key.pem
