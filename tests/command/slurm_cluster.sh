# shellcheck shell=sh
# A Slurm of one node on this machine, for tests; needs root. Source it and call
#
#   slurm_start FOLDER   # everything it writes is in there; sets SLURM_CONF
#   slurm_stop           # also after a start that failed
#
# The node pretends to have eight CPUs, so that several jobs run together anywhere.

# Why there can be none here, or nothing.
slurm_obstacle() {
    for slurm_need in slurmctld slurmd munged sbatch srun scontrol; do
        command -v $slurm_need >/dev/null || {
            echo "$slurm_need is not installed (Debian: slurm-wlm, munge)"
            return
        }
    done
    [ "$(id -u)" = 0 ] || echo "starting Slurm's daemons needs root"
}

# Waits up to SECONDS for a command to succeed.
slurm_await() { # SECONDS COMMAND…
    slurm_left=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        slurm_left=$((slurm_left - 1))
        [ $slurm_left -gt 0 ] || return 1
        sleep 0.1
    done
}

slurm_is_up() {
    [ "$(sinfo --noheader --format=%T)" = idle ]
}

slurm_is_empty() {
    [ -z "$(squeue --noheader)" ]
}

slurm_write_conf() { # FOLDER PORT
    slurm_host=$(hostname -s)
    cat >"$1/slurm.conf" <<C
ClusterName=test
SlurmctldHost=$slurm_host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$2
SlurmdPort=$(($2 + 1))
AuthType=auth/munge
AuthInfo=socket=$1/munge/socket
CredType=cred/munge
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=pmix
# Nothing else looks again at a job that waits for its time.
SchedulerParameters=sched_interval=1,bf_interval=1
KillWait=10
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=$slurm_host NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
}

slurm_start() { # FOLDER
    slurm_folder=$1
    mkdir -p "$1/munge" "$1/state" "$1/spool"
    chmod 755 "$1" "$1/munge" # munge wants to be reachable
    dd if=/dev/urandom of="$1/munge/key" bs=1024 count=1 2>/dev/null
    chmod 400 "$1/munge/key"
    munged --force --key-file="$1/munge/key" --socket="$1/munge/socket" \
        --pid-file="$1/munge/pid" --log-file="$1/munge/log" --seed-file="$1/munge/seed" ||
        return 1
    SLURM_CONF=$1/slurm.conf
    export SLURM_CONF
    for slurm_try in 1 2 3; do # a port may be taken
        slurm_write_conf "$1" $((20000 + ($$ * 7 + slurm_try * 2) % 10000))
        slurmctld -i 2>"$1/start.log" && slurm_await 5 scontrol ping && break
    done
    slurmd -c && slurm_await 20 slurm_is_up
}

slurm_stop() {
    [ -n "${slurm_folder:-}" ] || return 0
    scancel --user=root 2>/dev/null
    slurm_await 15 slurm_is_empty
    for slurm_daemon in slurmd.pid slurmctld.pid munge/pid; do
        slurm_pid=$(cat "$slurm_folder/$slurm_daemon" 2>/dev/null) || continue
        kill "$slurm_pid" 2>/dev/null
        slurm_await 10 sh -c "! kill -0 $slurm_pid" || kill -9 "$slurm_pid"
    done
}
