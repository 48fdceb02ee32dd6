import { messageOf } from '../message-of.js';
import type { GetStatusResponse } from '../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import type { Coordinator } from './coordinator.js';
import type { Clock } from './doctor/clocks.js';
import { type Finding, ok, warn, wrong } from './doctor/finding.js';
import type { ProcessStates } from './doctor/nodes.js';
import type { Heals } from './heals.js';
import type { Jobs } from './jobs.js';
import type { Nodes } from './nodes.js';
import type { Operations } from './operations.js';
import type { OptimizerGroups } from './optimizer-groups.js';
import type { Schedules } from './schedules.js';
import type { Temporal } from './temporal.js';
import type { Workers } from './workers.js';

/** What the doctor looks with. */
export interface DoctorTools {
  readonly coordinator: Coordinator;
  readonly temporal: () => Promise<Temporal>;
  readonly taskQueue: string;
  readonly nodes: Nodes;
  readonly schedules: Schedules;
  readonly heals: Heals;
  readonly optimizerGroups: OptimizerGroups;
  readonly jobs: Jobs;
  readonly operations: Operations;
  readonly workers: Workers;
}

/** `client.doctor`: looks at everything that Steward needs, and says of each what is wrong and how to mend it. */
export class Doctor {
  constructor(private readonly tools: DoctorTools) {}

  /**
   * Never throws because of what it finds. What cannot be looked at while something else is away is a WARN.
   *
   * @param processes states of the processes of a local stack, where they are known
   */
  async examine(processes: ProcessStates = new Map()): Promise<Finding[]> {
    const { nodes, heals, optimizerGroups, jobs, operations, workers, taskQueue } = this.tools;
    // Loaded before anybody is asked: no answer is read meanwhile.
    await import('./temporal.js');
    const [temporal, control] = await Promise.all([this.#temporal(), this.#control()]);
    const findings = [...temporal.findings, ...control.findings];
    const { status, clock } = control;
    if (status === undefined || clock === undefined) {
      return [
        ...findings,
        warn(
          'the rest',
          'catalog, workers, nodes, clocks and keepers were not looked at: no coordinator answers',
          'ask again when it does',
        ),
      ];
    }
    const [{ examineControlClocks, examineMigrations, examineSettings, examineWorkers }, work] =
      await Promise.all([import('./doctor/control-plane.js'), import('./doctor/optimizing.js')]);
    const { examineNodes } = await import('./doctor/nodes.js');
    const { examinePauses } = await import('./doctor/pauses.js');
    const { examineTombstones } = await import('./doctor/tombstones.js');
    const { examineBuilds } = await import('./doctor/worker-builds.js');
    const clocks = examineControlClocks(status, clock);
    const parts = await Promise.all([
      looking('catalog', async () => [examineMigrations(status)]),
      looking('workers', () => examineWorkers(status, temporal.found, taskQueue)),
      ...(temporal.found === undefined
        ? []
        : [looking('builds', () => examineBuilds(status, workers, taskQueue))]),
      looking('settings', async () => [examineSettings(status)]),
      looking('nodes', () => examineNodes(nodes, processes)),
      looking('clocks', async () =>
        clocks.length > 0 ? clocks : [ok('clocks', 'database and coordinator agree with this machine')],
      ),
      looking('heals', async () => [await work.examineBreaker(heals)]),
      ...(temporal.found === undefined
        ? []
        : [looking('keepers', () => work.examineKeepers(status.optimizerGroups, optimizerGroups))]),
      looking('tombstones', async () => [await examineTombstones(jobs, Date.now())]),
      looking('pauses', async () => examinePauses(await operations.pauses())),
    ]);
    return [...findings, ...parts.flat()];
  }

  async #temporal(): Promise<{ readonly findings: Finding[]; readonly found?: Temporal }> {
    const { temporal, schedules } = this.tools;
    let found: Temporal;
    try {
      found = await temporal();
    } catch (error) {
      return {
        findings: [
          wrong(
            'temporal',
            messageOf(error),
            'start it (steward local start, or the server of your deployment), or say where it is with --temporal-address',
          ),
        ],
      };
    }
    const { examineNamespace, examineSchedules, examineSearchAttributes } = await import(
      './doctor/temporal.js'
    );
    const namespace = await examineNamespace(found);
    if (namespace.verdict !== 'OK') return { findings: [namespace] };
    const parts = await Promise.all([
      looking('search attributes', async () => [await examineSearchAttributes(found)]),
      looking('schedules', () => examineSchedules(schedules)),
    ]);
    return { findings: [namespace, ...parts.flat()], found };
  }

  async #control(): Promise<{
    readonly findings: Finding[];
    readonly status?: GetStatusResponse;
    readonly clock?: Clock;
  }> {
    const askedAt = Date.now();
    try {
      const status = await this.tools.coordinator.briefly().ask((catalog) => catalog.getStatus({}));
      const clock = { askedAt, answeredAt: Date.now() };
      return { findings: [ok('coordinator', `answers, version ${status.version}`)], status, clock };
    } catch (error) {
      return {
        findings: [
          wrong(
            'coordinator',
            messageOf(error),
            'start it (steward local start, or the coordinator of your deployment), or say where it is with --coordinator; ' +
              'when it runs, its log says whether the catalog answers',
          ),
        ],
      };
    }
  }
}

/** One thing that cannot be looked at keeps nothing else from being looked at. */
async function looking(check: string, look: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await look();
  } catch (error) {
    return [
      wrong(
        check,
        `cannot be looked at: ${messageOf(error)}`,
        'see the log of the coordinator, and ask again',
      ),
    ];
  }
}
