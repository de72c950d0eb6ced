#!/bin/sh
# Packs what `cargo publish` would upload, unpacks it in an empty folder and type-checks it there, which fails if a file is
# missing. `cargo package` alone would build the package with all dependencies, which takes minutes: this check shares
# those that `cargo doc` has checked in the target folder.
#
#   tests/lint/package.sh
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

# --allow-dirty: the tests also run before a commit.
cargo package --locked --allow-dirty --no-verify --target-dir "$folder/target"
# -m: packed files are dated 2006. Cargo compares times, and would take the result of an earlier check for fresh.
tar -xmzf "$folder"/target/package/rest-sessions-*.crate -C "$folder"
# A profile of its own keeps this crate's results apart from those of the repository. The dependencies are shared.
cargo check --locked --config profile.dev.package.rest-sessions.debug=0 --target-dir "$target" \
    --manifest-path "$folder"/rest-sessions-*/Cargo.toml
