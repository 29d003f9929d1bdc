# Sourced: bare Debian roots made with debootstrap, for trying things where nothing is installed. Needs root.

roots=${REDIS_IPC_ROOTS:-$PWD/tmp/roots}

# make_root NAME SUITE PACKAGE...: prints its folder. It is kept; delete the folder to begin anew.
make_root() {
  local folder=$roots/$1 suite=$2
  shift 2
  if [ ! -e "$folder/.ready" ]; then
    command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >&2
    mkdir -p "$roots"
    [ -e "$folder/etc/debian_version" ] || debootstrap --variant=minbase "$suite" "$folder" >&2
    # No server is to start by itself.
    printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
    chmod +x "$folder/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$folder/etc/resolv.conf"
    chroot "$folder" apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive chroot "$folder" apt-get install -y -qq --no-install-recommends "$@" >&2
    touch "$folder/.ready"
  fi
  echo "$folder"
}

# in_root FOLDER COMMAND...: runs it there, with /proc and /dev; nothing stays mounted. BINDS lists folders of this
# system (by space) that are seen there under the same path.
in_root() {
  local folder=$1
  shift
  unshare --mount --propagation private bash -euc '
    folder=$1
    shift
    mount -t proc proc "$folder/proc"
    mount --rbind /dev "$folder/dev"
    for bound in ${BINDS:-}; do
      mkdir -p "$folder$bound"
      mount --bind "$bound" "$folder$bound"
    done
    exec chroot "$folder" "$@"
  ' in_root "$folder" "$@"
}
