/** Under which ids the workflows of a job run. */
export function jobWorkflowId(jobId: string): string {
  return `job/${jobId}`;
}

export function purgeWorkflowId({
  jobId,
  owner,
}: {
  readonly jobId: string;
  readonly owner: string;
}): string {
  return `job-cleanup/${jobId}/${owner}`;
}
