import type { Client } from '@temporalio/client';

/** A worker deployment as Temporal has it: its builds, and which of them are given work. */
export interface WorkerDeployment {
  /** Given work; undefined: none is, and workers without a version get everything. */
  readonly current: string | undefined;
  /** Given a share of what is started, before it becomes current. */
  readonly ramping: { readonly buildId: string; readonly percentage: number } | undefined;
  /** In the order in which they first asked for work. */
  readonly builds: readonly DeployedBuild[];
  /** Names this state to `makeCurrent`: a change in between is then refused. */
  readonly token: Uint8Array;
}

export interface DeployedBuild {
  readonly buildId: string;
  /** When a worker of it first asked for work. */
  readonly since: Date;
}

const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;

/** Undefined: no worker of the deployment ever asked for work. */
export async function findDeployment(client: Client, name: string): Promise<WorkerDeployment | undefined> {
  const { namespace } = client.options;
  try {
    const { workerDeploymentInfo: info, conflictToken } =
      await client.workflowService.describeWorkerDeployment({
        namespace,
        deploymentName: name,
      });
    const { currentDeploymentVersion, rampingDeploymentVersion, rampingVersionPercentage } =
      info?.routingConfig ?? {};
    const builds = (info?.versionSummaries ?? []).flatMap(({ deploymentVersion, createTime }) =>
      deploymentVersion?.buildId
        ? [
            {
              buildId: deploymentVersion.buildId,
              since: new Date(Number(createTime?.seconds ?? 0) * 1_000 + (createTime?.nanos ?? 0) / 1e6),
            },
          ]
        : [],
    );
    const ramping = rampingDeploymentVersion?.buildId;
    return {
      current: currentDeploymentVersion?.buildId || undefined,
      ramping: ramping ? { buildId: ramping, percentage: rampingVersionPercentage ?? 0 } : undefined,
      builds: builds.sort((a, b) => a.since.getTime() - b.since.getTime()),
      token: conflictToken ?? new Uint8Array(),
    };
  } catch (error) {
    if (codeOf(error) === NOT_FOUND) return undefined;
    throw error;
  }
}

/**
 * Has work given to a build from now on: what starts, and what is open, at its next step.
 *
 * @param token of the state that it was decided on; without one, whatever the state is now
 * @returns false when somebody else changed it in between, or the build has no worker that asks for work
 */
export async function makeCurrent(
  client: Client,
  deploymentName: string,
  buildId: string,
  { identity, token }: { readonly identity: string; readonly token?: Uint8Array },
): Promise<boolean> {
  const { namespace } = client.options;
  return isTaken(
    client.workflowService.setWorkerDeploymentCurrentVersion({
      namespace,
      deploymentName,
      buildId,
      identity,
      ...(token && { conflictToken: token }),
    }),
  );
}

/** Gives a build a share of what is started and of what is open; a share of 0 leaves everything to the current one. */
export async function ramp(
  client: Client,
  deploymentName: string,
  buildId: string,
  percentage: number,
  identity: string,
): Promise<boolean> {
  const { namespace } = client.options;
  return isTaken(
    client.workflowService.setWorkerDeploymentRampingVersion({
      namespace,
      deploymentName,
      // None at all ends the ramp.
      buildId: percentage === 0 ? '' : buildId,
      percentage,
      identity,
    }),
  );
}

/** False: Temporal refuses the change as things stand now. */
async function isTaken(change: Promise<unknown>): Promise<boolean> {
  try {
    await change;
    return true;
  } catch (error) {
    if (codeOf(error) === FAILED_PRECONDITION || codeOf(error) === NOT_FOUND) return false;
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | null)?.code;
}
