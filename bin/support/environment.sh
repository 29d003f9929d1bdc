# Sourced by the commands in bin/.

# The gems may be the system's (Debian's packages), or Bundler's: whichever has all that the specs need. `ruby -S` has
# the Ruby that is found first run them: Debian's rake would else call Debian's Ruby.
in_ruby() {
  if [ -z "${with_bundler+set}" ]; then
    with_bundler=
    ruby -e '%w[rake rspec redis async rubocop yard rbs railties activerecord actionpack sqlite3 puma sidekiq]
               .each { |name| gem name }' >/dev/null 2>&1 ||
      ! ruby -S bundle check >/dev/null 2>&1 || with_bundler="ruby -S bundle exec"
  fi
  if [ "$1" = ruby ]; then $with_bundler "$@"; else $with_bundler ruby -S "$@"; fi
}

# Where there is Valkey only, bin/setup puts it there under the other's name.
export PATH=$PATH:$PWD/tmp/servers

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
