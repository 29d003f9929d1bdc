# Sourced by the commands in bin/.

# The gems may be the system's (Debian's packages), or Bundler's.
in_ruby() {
  if ruby -e 'gem "rake"; gem "rspec"; gem "redis"; gem "rubocop"' >/dev/null 2>&1; then
    "$@"
  else
    bundle exec "$@"
  fi
}

# Runs a step; shows what it printed only if it failed.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
