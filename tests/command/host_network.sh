# shellcheck shell=sh
# Several hosts on this machine, for tests and measurements: network namespaces with names of
# their own, joined by a switch whose links are shaped. Needs root. Source it and call
#
#   hosts_start FOLDER COUNT RATE   # RATE as `tc` says it: 1gbit; $hosts_name may be set before
#   hosts_run PER_HOST COMMAND…     # mpirun over all of them, that many ranks on each; by
#                                   # $HOSTS_LAUNCHER, e.g. cohort launch; killed after
#                                   # $HOSTS_LIMIT seconds (240)
#   hosts_train FOLDER PER_HOST STEP OPTION…   # `cohort train net.yaml` so, as $job, until that step
#   hosts_on INDEX COMMAND…         # a command on one, counted from 1
#   hosts_cut INDEX                 # pulls its plug
#   hosts_mend INDEX                # puts it back
#   hosts_stop                      # also after a start that failed
#
# A host's name is $hosts_name-INDEX. They share processors, memory and files.

# Why there can be none here, or nothing.
hosts_obstacle() {
    for hosts_need in ip tc unshare mount; do
        command -v $hosts_need >/dev/null || {
            echo "$hosts_need is not installed (Debian: iproute2, util-linux)"
            return
        }
    done
    [ "$(id -u)" = 0 ] || {
        echo "network namespaces need root"
        return
    }
    if ip netns add "probe-$$" 2>/dev/null; then
        ip -n "probe-$$" link add name probe type bridge 2>/dev/null &&
            ip -n "probe-$$" link set probe up &&
            ip netns exec "probe-$$" tc qdisc add dev probe root tbf rate 1gbit burst 80kb \
                latency 50ms 2>/dev/null || echo "no bridges or traffic shaping here"
        ip netns del "probe-$$"
    else
        echo "no network namespaces here"
    fi
}

hosts_shape() { # NAMESPACE DEVICE RATE
    ip netns exec "$1" tc qdisc add dev "$2" root tbf rate "$3" burst 80kb latency 50ms
}

# Congestion control as Debian's kernels come with it, or of its kind. bbr, where a machine has
# chosen that, measures a path of microseconds here and sends too little after each pause.
hosts_control() { # NAMESPACE
    for hosts_kind in cubic reno; do
        ip netns exec "$1" sh -c \
            "echo $hosts_kind >/proc/sys/net/ipv4/tcp_congestion_control" 2>/dev/null && return
    done
    return 0
}

hosts_add() { # INDEX RATE
    hosts_one=$hosts_name-$1
    ip netns add "$hosts_one" &&
        ip link add eth0 netns "$hosts_one" type veth peer name "port$1" netns "$hosts_name-0" &&
        ip -n "$hosts_one" addr add "10.77.0.$1/24" dev eth0 &&
        ip -n "$hosts_one" link set eth0 up &&
        ip -n "$hosts_one" link set lo up &&
        ip -n "$hosts_name-0" link set "port$1" master switch &&
        ip -n "$hosts_name-0" link set "port$1" up &&
        hosts_control "$hosts_one" &&
        hosts_shape "$hosts_one" eth0 "$2" &&
        hosts_shape "$hosts_name-0" "port$1" "$2" &&
        echo "10.77.0.$1 $hosts_one" >>"$hosts_folder/names"
}

hosts_start() { # FOLDER COUNT RATE
    hosts_folder=$1 hosts_count=$2 hosts_started=$2
    hosts_name=${hosts_name:-host$$}
    mkdir -p "$1" || return 1
    echo "127.0.0.1 localhost" >"$1/names"
    # What mpirun takes for ssh: enters a host by its name and runs the rest there.
    cat >"$1/enter" <<'SH'
#!/bin/sh
host=$1
shift
export HOSTS_NAMES="$(dirname "$0")/names"
exec ip netns exec "$host" unshare --uts --mount sh -c "hostname $host
mount --bind \"\$HOSTS_NAMES\" /etc/hosts
$*"
SH
    chmod +x "$1/enter"
    ip netns add "$hosts_name-0" &&
        ip -n "$hosts_name-0" link add switch type bridge &&
        ip -n "$hosts_name-0" link set switch up || return 1
    for hosts_index in $(seq "$2"); do
        hosts_add "$hosts_index" "$3" || return 1
    done
}

hosts_on() { # INDEX COMMAND…
    hosts_index=$1
    shift
    hosts_line=''
    for hosts_word; do
        hosts_line="$hosts_line '$(printf %s "$hosts_word" | sed "s/'/'\\\\''/g")'"
    done
    "$hosts_folder/enter" "$hosts_name-$hosts_index" "exec $hosts_line"
}

hosts_run() { # PER_HOST COMMAND…
    hosts_per=$1
    shift
    hosts_list=''
    for hosts_index in $(seq "$hosts_count"); do
        hosts_list=${hosts_list:+$hosts_list,}$hosts_name-$hosts_index:$hosts_per
    done
    # shellcheck disable=SC2086 # the words of a launcher, or none
    hosts_on 1 env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
        timeout "${HOSTS_LIMIT:-240}" ${HOSTS_LAUNCHER-} mpirun -q --host "$hosts_list" -n $((hosts_count * hosts_per)) --bind-to none \
        --mca plm_rsh_agent "$hosts_folder/enter" --mca btl_tcp_if_include eth0 \
        --mca oob_tcp_if_include eth0 --mca btl_vader_single_copy_mechanism none \
        --mca mpi_yield_when_idle 1 "$@"
}

hosts_train() { # FOLDER PER_HOST STEP OPTION…
    folder=$1 hosts_each=$2 hosts_step=$3
    shift 3
    hosts_run "$hosts_each" "$COHORT" train net.yaml --quiet --run "$folder" "$@" >out 2>err &
    job=$!
    for _ in $(seq 1200); do
        grep -q "\"step\":$hosts_step," "$folder/metrics.jsonl" 2>/dev/null && break
        sleep 0.05
    done
}

hosts_cut() { # INDEX
    ip -n "$hosts_name-0" link set "port$1" down
}

hosts_mend() { # INDEX
    ip -n "$hosts_name-0" link set "port$1" up
    # A host that asked in vain for another's address would call it unreachable for a second more.
    for hosts_index in $(seq "$hosts_started"); do
        ip -n "$hosts_name-$hosts_index" neigh flush dev eth0
    done
}

hosts_stop() {
    [ -n "${hosts_name:-}" ] || return 0
    for hosts_index in $(seq "$hosts_started") 0; do
        for hosts_pid in $(ip netns pids "$hosts_name-$hosts_index" 2>/dev/null); do
            kill -9 "$hosts_pid" 2>/dev/null
        done
        ip netns del "$hosts_name-$hosts_index" 2>/dev/null
    done
}
