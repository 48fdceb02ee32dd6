import { BUILD_ID, WORKER_DEPLOYMENT } from '../rules/bounds.js';
import { text } from '../rules/input.js';
import type { DeployedBuild, WorkerDeployment } from '../temporal/worker-deployments.js';
import type { Coordinator } from './coordinator.js';
import { StewardError } from './errors.js';
import type { Temporal } from './temporal.js';
import { valid } from './validation.js';

/** A build of the worker. */
export interface Build {
  readonly buildId: string;
  /** CURRENT: given work. RAMPING: given a share of it. IDLE: given none. */
  readonly state: 'CURRENT' | 'RAMPING' | 'IDLE';
  /** Of a build that is ramping. */
  readonly percentage?: number;
  /** Workers of it that run. */
  readonly workers: number;
  /** Open workflows that somebody pinned to it: they wait for workers of it. All others go to the current build. */
  readonly pinned: number;
  /** When a worker of it first asked for work. */
  readonly since: string;
}

/** The builds of a worker deployment, the newest first. */
export interface Builds {
  /** Absent: no worker has a version, and there are no builds. */
  readonly deployment?: string;
  readonly builds: readonly Build[];
}

/** Why there are no builds. */
export const NO_VERSIONS =
  'no worker has a version: workers get one with STEWARD_WORKER_DEPLOYMENT, and without one are all given work';

/** Which deployment is meant; by default the one that the workers which run tell of. */
export interface DeploymentOptions {
  readonly deployment?: string | undefined;
}

/** `client.workers`: builds of the worker, and which of them Temporal gives work to. */
export class Workers {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly temporal: () => Promise<Temporal>,
    private readonly taskQueue: string,
    private readonly actor: string,
  ) {}

  /**
   * The builds of a deployment; none when no worker has a version.
   *
   * @throws StewardError INVALID_INPUT; NOT_FOUND when no worker of the deployment that is asked for was ever there; UNAVAILABLE
   */
  async builds(options: DeploymentOptions = {}): Promise<Builds> {
    const { deployment, living } = await this.#deployment(options);
    if (deployment === undefined) return { builds: [] };
    const temporal = await this.temporal();
    const found = await this.#found(temporal, deployment);
    const builds = await Promise.all(
      found.builds.map(async (build) => ({
        ...standing(build, found),
        workers: living.filter((buildId) => buildId === build.buildId).length,
        pinned: await pinnedTo(temporal, deployment, build.buildId),
      })),
    );
    return { deployment, builds: builds.reverse() };
  }

  /** The builds, of which this is one. Throws as `builds`, also NOT_FOUND when it is none of them. */
  async buildsWith(buildId: string, options: DeploymentOptions = {}): Promise<Required<Builds>> {
    valid(() => text({ buildId }, 'buildId', BUILD_ID));
    const { deployment, builds } = await this.builds(options);
    if (deployment === undefined) throw new StewardError('NOT_FOUND', NO_VERSIONS);
    const found = { deployment, builds };
    if (!builds.some((build) => build.buildId === buildId)) throw unknownBuild(buildId, found);
    return found;
  }

  /**
   * Has all work given to a build: what starts, and what is open, at its next step. Asked again, nothing changes.
   *
   * @throws StewardError INVALID_INPUT; NOT_FOUND; REJECTED when no worker of it asks for work; UNAVAILABLE
   */
  async makeCurrent(buildId: string, options: DeploymentOptions = {}): Promise<Required<Builds>> {
    const { makeCurrent } = await import('../temporal/worker-deployments.js');
    return this.#route(buildId, options, (temporal, deployment) =>
      temporal.ask((client) => makeCurrent(client, deployment, buildId, { identity: this.actor })),
    );
  }

  /**
   * Gives a build a share of the work, in percent; 0 leaves all of it to the current one. Workflows are divided by their ids,
   * and one that is open may go over with its next step. Throws as `makeCurrent`.
   */
  async ramp(
    buildId: string,
    percentage: number,
    options: DeploymentOptions = {},
  ): Promise<Required<Builds>> {
    const { ramp } = await import('../temporal/worker-deployments.js');
    return this.#route(buildId, options, (temporal, deployment) =>
      temporal.ask((client) => ramp(client, deployment, buildId, percentage, this.actor)),
    );
  }

  async #route(
    buildId: string,
    options: DeploymentOptions,
    change: (temporal: Temporal, deployment: string) => Promise<boolean>,
  ): Promise<Required<Builds>> {
    const { deployment } = await this.buildsWith(buildId, options);
    if (!(await change(await this.temporal(), deployment))) {
      throw new StewardError(
        'REJECTED',
        `build ${buildId} of ${deployment} has no worker that asks for work: start one first`,
        { details: 'NO_WORKERS' },
      );
    }
    const { builds } = await this.builds({ deployment });
    return { deployment, builds };
  }

  async #found(temporal: Temporal, deployment: string): Promise<WorkerDeployment> {
    const { findDeployment } = await import('../temporal/worker-deployments.js');
    const found = await temporal.ask((client) => findDeployment(client, deployment));
    if (found !== undefined) return found;
    throw new StewardError('NOT_FOUND', `no worker of a deployment ${deployment} ever asked for work`);
  }

  /** Also the builds of its living workers, one for each. */
  async #deployment({ deployment: asked }: DeploymentOptions): Promise<{
    readonly deployment: string | undefined;
    readonly living: readonly string[];
  }> {
    if (asked !== undefined) valid(() => text({ deployment: asked }, 'deployment', WORKER_DEPLOYMENT));
    const { processes } = await this.coordinator.ask((catalog) => catalog.getStatus({}));
    const workers = processes.filter(
      ({ kind, taskQueue, deployment }) =>
        kind === 'worker' && taskQueue === this.taskQueue && deployment !== '',
    );
    const deployment = asked ?? workers.at(-1)?.deployment;
    const living = workers.filter((worker) => worker.alive && worker.deployment === deployment);
    return { deployment, living: living.map(({ buildId }) => buildId) };
  }
}

function standing(
  { buildId, since }: DeployedBuild,
  { current, ramping }: WorkerDeployment,
): Pick<Build, 'buildId' | 'state' | 'percentage' | 'since'> {
  const about = { buildId, since: since.toISOString() };
  if (buildId === current) return { ...about, state: 'CURRENT' };
  if (buildId !== ramping?.buildId) return { ...about, state: 'IDLE' };
  return { ...about, state: 'RAMPING', percentage: ramping.percentage };
}

async function pinnedTo(temporal: Temporal, deployment: string, buildId: string): Promise<number> {
  const query = [
    `TemporalWorkerDeploymentVersion = '${deployment}:${buildId}'`,
    `TemporalWorkflowVersioningBehavior = 'Pinned'`,
    `ExecutionStatus = 'Running'`,
  ].join(' AND ');
  return (await temporal.ask((client) => client.workflow.count(query))).count;
}

function unknownBuild(buildId: string, { deployment, builds }: Required<Builds>): StewardError {
  const known = builds.map((build) => build.buildId).join(', ');
  return new StewardError('NOT_FOUND', `deployment ${deployment} has no build ${buildId}, only ${known}`);
}
