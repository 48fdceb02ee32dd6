#!/bin/sh
# Makes the namespace when it is missing. How long ended operations can be looked at is its retention.
set -eu
until temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; do
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$NAMESPACE_RETENTION" || sleep 2
done
