#!/bin/bash
# An evolution on several nodes of a SLURM cluster:
#
#     sbatch examples/cluster/slurm.sh examples/first_finish.ini
#
# In the folder from which you submit, .venv has mkds-gym[neat,ray] (change the line below for
# another place). The folder must be visible from all nodes. Needs Ray 2.52: `ray symmetric-run`
# came with 2.49, and the token below with 2.52.
#SBATCH --job-name=mkds-evolve
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
# `ray symmetric-run` ends with `ray stop`, which ends all Ray processes of yours on the nodes.
#SBATCH --exclusive
#SBATCH --mem-per-cpu=1G
#SBATCH --time=04:00:00
# Two minutes before the end Slurm sends SIGTERM to the processes of the job. A run that receives it
# saves its results and stops. Not tried on a Slurm cluster: the signal may end Ray before the run.
# A run that is killed has written each result as it came. Continue both with
# sbatch examples/cluster/slurm.sh --resume runs/first_finish
#SBATCH --signal=TERM@120

set -euo pipefail
config=${1:?usage: sbatch slurm.sh CONFIG [options of mkds_neat.run]}
shift
source .venv/bin/activate

# Who can reach the port of a cluster can run code as you: only who has this token may.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0
# Short, because it becomes part of the paths of sockets; on the node's own disk.
export RAY_TMPDIR=/tmp

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent ahostsv4 "$head" | awk 'NR == 1 { print $1 }'):$((20000 + SLURM_JOB_ID % 20000))

# Each node starts Ray. The first one then runs the command, and all stop at its end.
srun ray symmetric-run \
    --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" \
    --object-store-memory 268435456 --include-dashboard false -- \
    env RAY_ADDRESS="$address" python -m mkds_neat.run "$config" "$@" --engine ray --quiet --no-pictures
