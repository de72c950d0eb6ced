#!/bin/sh
# Lints openapi.yaml by the rules of Spectral and Redocly, and checks that docs/http-api.html shows it as it is.
#
#   run.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true

node_modules/.bin/spectral lint --ruleset spectral.yaml --fail-severity warn ../../openapi.yaml
node_modules/.bin/redocly lint --config redocly.yaml --max-problems 100 ../../openapi.yaml
node reference.mjs --check
