import { heartbeat } from '@temporalio/activity';
import { type OwedCancel, owedCancels, recordCancel } from '../../src/catalog/jobs/cancels.js';
import type { JobKey } from '../../src/catalog/jobs/rows.js';
import {
  isStanding,
  overdueTombstones,
  type StandingJob,
  standingJobs,
} from '../../src/catalog/jobs/tombstones.js';
import { isUnanswered } from '../../src/engines/nodes.js';
import { jobWorkflowId, purgeWorkflowId } from '../../src/rules/job-ids.js';
import { type CancelVerdict, cancelOperation, verdictOfAnswer, verdictUnasked } from './owed-cancels.js';
import type { JobDependencies } from './reconcile-jobs.js';

export interface SweepJobsDependencies extends JobDependencies {
  /** Whether anything runs under a workflow id, by describing it. */
  readonly runs: (workflowId: string) => Promise<boolean>;
}

export type SweepJobsActivities = ReturnType<typeof createSweepJobsActivities>;

/** A purge that is done right after its time needs no second one. */
const OVERDUE_GRACE_MS = 2_000;
/** A job is claimed by a workflow that runs: the row of one that was just claimed is not looked at. */
const CLAIM_GRACE_MS = 2_000;
const AT_A_TIME = 500;

/** The activities of sweepJobs. */
export function createSweepJobsActivities(dependencies: SweepJobsDependencies) {
  const { catalog, catalogId, engine, settings, log, runs } = dependencies;
  return {
    /** Tombstones whose time is over and that nobody is purging. */
    async unpurgedTombstones(): Promise<JobKey[]> {
      const found: JobKey[] = [];
      for (const key of await overdueTombstones(catalog, OVERDUE_GRACE_MS, AT_A_TIME)) {
        heartbeat();
        if (await runs(purgeWorkflowId(key))) continue;
        log.warn({ job: key.jobId, owner: key.owner }, 'overdue tombstone without a purge');
        found.push(key);
      }
      return found;
    },

    /** Jobs that are not over and whose workflow is gone (I8). */
    async abandonedJobs(): Promise<StandingJob[]> {
      const found: StandingJob[] = [];
      for (const job of await standingJobs(catalog, CLAIM_GRACE_MS)) {
        heartbeat();
        // It may have ended while it was asked about.
        if ((await runs(jobWorkflowId(job.jobId))) || !(await isStanding(catalog, job))) continue;
        log.warn({ job: job.jobId, owner: job.owner }, 'job whose workflow is gone');
        found.push(job);
        if (found.length === AT_A_TIME) break;
      }
      return found;
    },

    /** Tells nodes that came back what they are to end. Answers how many cancels they confirmed, and how many stay owed. */
    async deliverOwedCancels(): Promise<{ readonly confirmed: number; readonly owed: number }> {
      const owed = await owedCancels(catalog, { limit: 10_000 }, settings.nodeTimeoutMs);
      const silent = new Set<string>();
      let confirmed = 0;
      for (const one of owed) {
        heartbeat();
        const verdict = verdictUnasked(one) ?? (await ask(one, silent));
        if (verdict?.kind !== 'OVER' && verdict?.kind !== 'AGAIN') continue;
        await recordCancel(catalog, one, verdict, log);
        if (verdict.kind === 'OVER') confirmed += 1;
      }
      return { confirmed, owed: owed.length - confirmed };
    },
  };

  /** Nothing of a node that is known not to answer. How a savepoint ends is for its job to judge. */
  async function ask(one: OwedCancel, silent: Set<string>): Promise<CancelVerdict | undefined> {
    if (one.savepoint || !one.nodeAlive || silent.has(one.node.nodeId)) return undefined;
    try {
      const [status] = await engine.submit(one.node, [cancelOperation(catalogId, one)]);
      return status && verdictOfAnswer(one, status);
    } catch (error) {
      if (!isUnanswered(error)) throw error;
      silent.add(one.node.nodeId);
      return undefined;
    }
  }
}
