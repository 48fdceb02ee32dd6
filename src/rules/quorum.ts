/** Replicas of r that make a quorum: floor(r / 2) + 1. */
export function quorum(replicationFactor: number): number {
  return Math.floor(replicationFactor / 2) + 1;
}

export type GroupOutcome = 'COMPLETE' | 'INCOMPLETE' | 'NO_QUORUM';

/** How the creation of a region group with `running` of r replicas ended. */
export function creationOutcome(running: number, replicationFactor: number): GroupOutcome {
  if (running >= replicationFactor) return 'COMPLETE';
  return running >= quorum(replicationFactor) ? 'INCOMPLETE' : 'NO_QUORUM';
}
