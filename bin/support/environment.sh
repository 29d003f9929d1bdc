# Sourced by the commands in bin/.

# The gems may be the system's (Debian's packages), or Bundler's.
in_ruby() {
  if [ -z "${with_bundler+set}" ]; then
    # Bundler is for where a gem is missing.
    ruby -e 'gem "rake"; gem "rspec"; gem "redis"; gem "async"; gem "rubocop"; gem "yard"' >/dev/null 2>&1 ||
      ! bundle check >/dev/null 2>&1 || with_bundler="bundle exec"
  fi
  ${with_bundler:-} "$@"
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
