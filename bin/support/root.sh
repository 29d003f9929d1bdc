# Makes Debian roots with debootstrap, for trials where nothing else is installed. Scripts source it. It needs root.

roots=${REDIS_IPC_ROOTS:-$PWD/tmp/roots}
# The folder of TMPDIR does not exist in a root, and scripts of packages would fail there.
export -n TMPDIR

# make_root NAME SUITE PACKAGE...: makes a root and prints its folder. It is kept; delete the folder to begin anew.
make_root() {
  local folder=$roots/$1 suite=$2
  shift 2
  if [ ! -e "$folder/.ready" ]; then
    command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >&2
    mkdir -p "$roots"
    # A debootstrap that is older than the suite has no script for it; sid's script serves all suites.
    [ -e "$folder/etc/debian_version" ] || debootstrap --variant=minbase "$suite" "$folder" "" "$(script_of "$suite")" >&2
    # The release files of a mirror that is an older snapshot have expired.
    echo 'Acquire::Check-Valid-Until "false";' >"$folder/etc/apt/apt.conf.d/99-snapshot"
    # This keeps servers from starting by themselves.
    printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
    chmod +x "$folder/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$folder/etc/resolv.conf"
    # debootstrap makes no hosts file, and without one "localhost" does not resolve.
    [ -e "$folder/etc/hosts" ] || printf '127.0.0.1 localhost\n::1 localhost\n' >"$folder/etc/hosts"
    chroot "$folder" apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive chroot "$folder" apt-get install -y -qq --no-install-recommends "$@" >&2
    touch "$folder/.ready"
  fi
  echo "$folder"
}

script_of() {
  local script=/usr/share/debootstrap/scripts/$1
  if [ -e "$script" ]; then echo "$script"; else echo /usr/share/debootstrap/scripts/sid; fi
}

# in_root FOLDER COMMAND...: runs a command in a root, with /proc and /dev; nothing stays mounted. BINDS lists folders
# and files of this system (separated by spaces) to mount there: at the same path, or as FROM:TO.
in_root() {
  local folder=$1
  shift
  unshare --mount --propagation private bash -euc '
    folder=$1
    shift
    # What runs there may have mounts of its own (unshare) only if "/" is a mount.
    mount --bind "$folder" "$folder"
    mount -t proc proc "$folder/proc"
    mount --rbind /dev "$folder/dev"
    for bound in ${BINDS:-}; do
      from=${bound%%:*} to=$folder${bound#*:}
      if [ -d "$from" ]; then mkdir -p "$to"; else mkdir -p "${to%/*}" && touch "$to"; fi
      mount --bind "$from" "$to"
    done
    exec chroot "$folder" "$@"
  ' in_root "$folder" "$@"
}

# make_workshop SUITE: prints the folder of a root in which this checkout is built, in /src. bin/setup installs the rest
# there, as anywhere. The suite "experimental" is sid with the Ruby and the Redis of Debian's experimental.
make_workshop() {
  local folder suite=$1
  [ "$suite" != experimental ] || suite=sid
  folder=$(make_root "workshop-$1" "$suite" ca-certificates)
  # Copies the checkout without what was built in it; what was built or fetched in the root stays.
  mkdir -p "$folder/src"
  find "$folder/src" -mindepth 1 -maxdepth 1 ! -name target ! -name tmp -exec rm -rf {} +
  git ls-files --cached --others --exclude-standard -z | tar --create --null --files-from=- | tar --extract -C "$folder/src"
  trust "$folder"
  if [ "$1" = experimental ]; then
    add_experimental "$folder" >&2
    in_workshop "$folder" 'cd /src && bin/setup --to-run' >&2
  else
    in_workshop "$folder" 'cd /src && bin/setup' >&2
  fi
  echo "$folder"
}

# trust FOLDER: installs this machine's own certificate authorities, which its package registries may need.
trust() {
  compgen -G "/usr/local/share/ca-certificates/*.crt" >/dev/null || return 0
  cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/"
  chroot "$1" update-ca-certificates >&2
}

# Debian's default Ruby stays installed, because its packages need it; "ruby" and the gems' commands become those of
# 3.4. The commands are Ruby scripts, because `ruby -S` takes no others.
add_experimental() {
  in_workshop "$1" '
    list=/etc/apt/sources.list.d/experimental.list
    [ ! -e $list ] || exit 0
    export DEBIAN_FRONTEND=noninteractive
    sed -n "s/ sid / experimental /p" /etc/apt/sources.list >$list
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends ruby3.4 ruby3.4-dev redis-server/experimental redis-tools/experimental \
      rake ruby-rspec ruby-redis ruby-activesupport yard python3-venv nodejs npm
    ln -s /usr/bin/ruby3.4 /usr/local/bin/ruby
    for command in gem rake rspec yard; do
      printf "#!/usr/bin/ruby3.4\nload %s\n" "\"/usr/bin/$command\"" >/usr/local/bin/$command
      chmod +x /usr/local/bin/$command
    done'
}

# in_workshop FOLDER SCRIPT [ARGUMENT...]: runs a script with this machine's Rust, its settings of pip and npm (mounted,
# not copied), because specs install packages, and its settings of Cargo's profiles.
in_workshop() {
  local folder=$1 cargo=${CARGO_HOME:-$HOME/.cargo} rustup=${RUSTUP_HOME:-$HOME/.rustup} binds settings=() file name
  shift
  binds="$cargo $rustup"
  for file in /etc/pip.conf /etc/npmrc "$HOME/.npmrc:/root/.npmrc" ${PIP_CONFIG_FILE:-} ${PIP_FIND_LINKS:-}; do
    [ ! -e "${file%%:*}" ] || binds+=" $file"
  done
  for name in $(compgen -e PIP_; compgen -e npm_config_; compgen -e CARGO_PROFILE_); do settings+=("$name=${!name}"); done
  BINDS=$binds in_root "$folder" env -i HOME=/root LANG=C.UTF-8 CARGO_HOME="$cargo" RUSTUP_HOME="$rustup" \
    CARGO_INCREMENTAL=0 PATH="$cargo/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" "${settings[@]}" sh -euc "$@"
}
