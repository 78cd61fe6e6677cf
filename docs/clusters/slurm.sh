#!/bin/bash
# sbatch docs/clusters/slurm.sh: four nodes with four GPUs each, put back into the queue when preempted.
#SBATCH --job-name=tunecnn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# SIGTERM to this script a minute before the end; the search needs a few seconds.
#SBATCH --signal=B:TERM@60
set -euo pipefail

cd "$SLURM_SUBMIT_DIR" # on a file system that a later job sees from other nodes
source .venv/bin/activate

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address="$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname -I | cut -d ' ' -f 1):6379"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK" # which srun does not take from sbatch since 22.05
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
export RAY_AUTH_TOKEN

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port=6379 --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 15
srun --nodes="$((SLURM_NNODES - 1))" --ntasks="$((SLURM_NNODES - 1))" --exclude="$head" \
    ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &

# This script runs on the first node of the job, which is the head.
tunecnn search --space proposed.yaml --resume-or-start "proposed-$SLURM_JOB_ID" \
    --address "$address" --max-trials-at-once 16 &
search=$!
ended=0
trap 'kill -TERM "$search"; wait "$search" || true; scontrol requeue "$SLURM_JOB_ID"; exit 0' TERM
wait "$search" || ended=$?
exit "$ended"
