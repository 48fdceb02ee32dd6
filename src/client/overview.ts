import type { HealStatus, Heals } from './heals.js';
import type { JobStatus, Jobs } from './jobs.js';
import type { Node, Operation, OperationDescription } from './model.js';
import type { Nodes } from './nodes.js';
import type { Operations } from './operations.js';
import type { OptimizerGroups } from './optimizer-groups.js';
import type { Pause } from './pauses.js';
import { Problems } from './problems.js';

/** Everything at one moment. What could not be asked is absent, and stands among the problems with its reason. */
export interface Overview {
  readonly at: string;
  readonly problems: readonly string[];
  readonly pauses?: readonly Pause[];
  readonly nodes?: readonly Node[];
  /** What runs, the newest first, without keepers and jobs. */
  readonly operations?: readonly RunningOperation[];
  readonly heals?: HealStatus;
  /** Resources whose optimizer does not live. */
  readonly orphans?: readonly OrphanOverview[];
  /** Optimizers that were started more than once. */
  readonly restarts?: readonly RestartOverview[];
  /** Jobs that are not over. */
  readonly jobs?: readonly JobStatus[];
  /** Jobs that are over, and keep their id for a while. */
  readonly tombstones?: readonly JobStatus[];
}

export interface RunningOperation
  extends Operation,
    Partial<Pick<OperationDescription, 'progress' | 'blockers'>> {}

export interface OrphanOverview {
  readonly group: string;
  readonly resourceId: string;
  readonly nodeId?: string;
  readonly lastError?: string;
}

export interface RestartOverview {
  readonly group: string;
  readonly resourceId: string;
  /** Of the optimizer that is there now; the first start is launch 1. */
  readonly launch: number;
  readonly registeredAt?: string;
}

export interface OverviewTools {
  readonly nodes: Nodes;
  readonly operations: Operations;
  readonly heals: Heals;
  readonly optimizerGroups: OptimizerGroups;
  readonly jobs: Jobs;
}

/** Operations that are described in full; of the others only the list is shown. */
const DESCRIBED = 10;
/** Have a section of their own. */
const ELSEWHERE = ['keepOptimizerGroup', 'ensureKeepers', 'runJob', 'purgeJobState'];

/** Asks for everything at once; what fails leaves out its part alone. */
export async function overview(tools: OverviewTools): Promise<Overview> {
  const problems = new Problems();
  const part = async <T>(what: string, ask: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await ask();
    } catch (error) {
      problems.add(what, error);
      return undefined;
    }
  };
  const [pauses, nodes, operations, heals, groups, jobs] = await Promise.all([
    part('pauses', () => tools.operations.pauses()),
    part('nodes', () => tools.nodes.list()),
    part('operations', () => runningOperations(tools.operations)),
    part('heals', () => tools.heals.status()),
    part('optimizers', () => tools.optimizerGroups.list()),
    part('jobs', () => tools.jobs.list()),
  ]);
  const resources = groups?.flatMap(({ name, resources: all }) =>
    all.map((resource) => ({ group: name, ...resource })),
  );
  return {
    at: new Date().toISOString(),
    problems: problems.lines,
    ...(pauses && { pauses }),
    ...(nodes && { nodes }),
    ...(operations && { operations }),
    ...(heals && { heals }),
    ...(resources && {
      orphans: resources
        .filter(({ state, optimizer }) => state !== 'RELEASING' && optimizer?.alive !== true)
        .map(({ group, resourceId, nodeId, lastError }) => ({
          group,
          resourceId,
          ...(nodeId !== undefined && { nodeId }),
          ...(lastError !== undefined && { lastError }),
        })),
      restarts: resources
        .filter(({ registeredLaunch }) => registeredLaunch > 1)
        .map(({ group, resourceId, registeredLaunch, optimizer }) => ({
          group,
          resourceId,
          launch: registeredLaunch,
          ...(optimizer && { registeredAt: optimizer.registeredAt }),
        }))
        .sort((a, b) => (b.registeredAt ?? '').localeCompare(a.registeredAt ?? '')),
    }),
    ...(jobs && {
      jobs: jobs.filter(({ endedAt }) => endedAt === undefined),
      tombstones: jobs.filter(({ endedAt }) => endedAt !== undefined),
    }),
  };
}

async function runningOperations(operations: Operations): Promise<RunningOperation[]> {
  const running = (await operations.list({ running: true })).filter(
    ({ workflowType }) => !ELSEWHERE.includes(workflowType),
  );
  return Promise.all(
    running.map(async (operation, index) => {
      if (index >= DESCRIBED) return operation;
      // It may have ended since it was listed.
      const described = await operations.get(operation.operationId, { brief: true }).catch(() => undefined);
      if (described === undefined) return operation;
      const { progress, blockers } = described;
      return { ...operation, ...(progress && { progress }), blockers };
    }),
  );
}
