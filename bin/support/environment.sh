# The commands in bin/ source this file.

# Runs a command with the gems of the system (Debian's packages) or of Bundler: the ones that have all that the specs
# need. `ruby -S` runs it with the first Ruby on the PATH; Debian's rake would call Debian's Ruby.
in_ruby() {
  if [ -z "${with_bundler+set}" ]; then
    with_bundler=
    ruby -e '%w[rake rspec redis async rubocop yard rbs railties activerecord actionpack sqlite3 puma sidekiq]
               .each { |name| gem name }' >/dev/null 2>&1 ||
      ! ruby -S bundle check >/dev/null 2>&1 || with_bundler="ruby -S bundle exec"
  fi
  if [ "$1" = ruby ]; then $with_bundler "$@"; else $with_bundler ruby -S "$@"; fi
}

# Where only Valkey is installed, bin/setup links it here as redis-server.
export PATH=$PATH:$PWD/tmp/servers

# Runs a step, and shows its output only if it failed.
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
