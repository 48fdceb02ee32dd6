import { heartbeat } from '@temporalio/activity';
import type { ApplicationFailure } from '@temporalio/common';
import { claimJob } from '../../src/catalog/jobs/claim.js';
import { judgeJob, oweCancels, settleEnding, stopJob } from '../../src/catalog/jobs/ending.js';
import { type JobKey, type JobStanding, readJob } from '../../src/catalog/jobs/rows.js';
import { type NoPlace, scheduleJob, settleDeployment } from '../../src/catalog/jobs/scheduling.js';
import { purgeJob } from '../../src/catalog/jobs/tombstones.js';
import { counted } from '../../src/rules/counted.js';
import type { RunJobInput } from '../../src/rules/job-input.js';
import { notReady } from '../not-ready.js';
import { holdWhilePaused } from '../pauses.js';
import { rejected } from '../rejected.js';
import type { PassReport } from './pass-report.js';
import { type JobDependencies, JobPass } from './reconcile-jobs.js';

export type JobActivities = ReturnType<typeof createJobActivities>;

const NO_PLACE_RETRY_MS = 1_000;

/**
 * The activities of runJob and purgeJobState. Each may be repeated at any moment, and answers how the job stands
 * afterwards.
 */
export function createJobActivities(dependencies: JobDependencies) {
  const { catalog, settings, log } = dependencies;
  return {
    claimJob: (input: RunJobInput & { readonly owner: string }, resume: boolean) =>
      claimJob(catalog, input, { resume }, log),

    /**
     * Gives each task group a node, unless the job is paused: what has a node is deployed to its end. While the live nodes that
     * run task groups have no places for all of them, that is the blocker.
     */
    async scheduleJob(key: JobKey): Promise<JobStanding> {
      await holdWhilePaused(catalog, `job ${key.jobId}`);
      const answer = await scheduleJob(catalog, key, settings.nodeTimeoutMs, log);
      if (answer !== 'GONE' && 'kind' in answer) {
        throw notReady(`job ${key.jobId}: BLOCKED: ${whyNoPlace(answer)}`, NO_PLACE_RETRY_MS);
      }
      return known(key, answer);
    },

    /** Brings every task group to run where it was placed, or finds that one cannot. */
    async deployJob(key: JobKey, execution: number): Promise<JobStanding> {
      const report = await (await passOf(key, execution))?.deploy();
      const standing = known(key, await settleDeployment(catalog, key, execution, log));
      if (standing.state !== 'SCHEDULED' || standing.execution !== execution) return standing;
      throw stillOpen(key, 'being deployed', report);
    },

    /** Looks after a running job until there is something to decide: asked again and again, at no cost in history. */
    async superviseJob(key: JobKey, execution: number): Promise<JobStanding> {
      const report = await (await passOf(key, execution))?.supervise();
      const standing = known(key, await judgeJob(catalog, key, execution, log));
      if (standing.state !== 'RUNNING' || standing.execution !== execution) return standing;
      throw stillOpen(key, 'running', report);
    },

    judgeJob: async (key: JobKey, execution: number): Promise<JobStanding> =>
      known(key, await judgeJob(catalog, key, execution, log)),

    stopJob: async (key: JobKey, to: 'CANCELING' | 'DOING_SAVEPOINT'): Promise<JobStanding> =>
      known(key, await stopJob(catalog, key, to, log)),

    /** Ends what still runs of a job that is FAILING, CANCELING or DOING_SAVEPOINT, and then the job, or starts it again. */
    async endJob(key: JobKey): Promise<JobStanding> {
      await oweCancels(catalog, key, log);
      const job = await readJob(catalog, key);
      const report = job && (await (await passOf(key, job.execution))?.cancel());
      if (report !== undefined && report.open > 0) throw stillOpen(key, 'being cancelled', report);
      return known(key, await settleEnding(catalog, key, log));
    },

    /** Deletes the rows of this owner; a failure is logged, and tried again. */
    async purgeJob(key: JobKey): Promise<'PURGED' | 'GONE'> {
      try {
        const purged = await purgeJob(catalog, key);
        if (purged.kind === 'RUNNING') {
          throw rejected(
            'JOB_RUNNING',
            `job ${key.jobId} of owner ${key.owner} is ${purged.state}: only what is over is purged`,
          );
        }
        log.info({ job: key.jobId, owner: key.owner, ...purged }, 'job state purged');
        return purged.kind;
      } catch (error) {
        log.warn({ job: key.jobId, owner: key.owner, err: error }, 'job state not purged: it is tried again');
        throw error;
      }
    },
  };

  /** A pass over the job's nodes; undefined when the job is at another execution by now. */
  async function passOf(key: JobKey, execution: number): Promise<JobPass | undefined> {
    const job = await readJob(catalog, key);
    if (job === undefined || job.execution !== execution) return undefined;
    return new JobPass(dependencies, key, execution, job.spec, () => heartbeat());
  }
}

function whyNoPlace({ taskGroups, nodes, taken, places }: NoPlace): string {
  if (nodes === 0) return 'no live node runs task groups';
  const free = Math.max(0, places - taken);
  return `not enough places for task groups: the job needs ${taskGroups}, the live nodes have ${free} free of ${places}`;
}

function stillOpen({ jobId }: JobKey, what: string, report: PassReport | undefined): ApplicationFailure {
  const { open = 0, blockers = [], delayMs = 200 } = report ?? {};
  const blocked = blockers.length > 0 ? `: BLOCKED: ${blockers.join('; ')}` : '';
  return notReady(`job ${jobId}: ${counted(open, 'task group')} ${what}${blocked}`, delayMs);
}

/** Rows of a job that runs never leave the catalog: only a restore to an older point takes them. */
function known(key: JobKey, standing: JobStanding | 'GONE'): JobStanding {
  if (standing !== 'GONE') return standing;
  throw rejected(
    'CATALOG_BEHIND',
    `the catalog does not know job ${key.jobId} of owner ${key.owner}: it was purged before Temporal was restored to an older ` +
      'point, or the catalog itself was (CATALOG_BEHIND)',
  );
}
