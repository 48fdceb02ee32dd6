import { afterAll, beforeAll, expect, test } from 'vitest';
import { slow } from '../chaos/slow-regions.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { type Steward, startSteward } from '../support/steward.js';
import { FiveSystems, PATIENT } from './five-systems.js';
import { buildNextVersion, NEXT_VERSION } from './next-version.js';

const ENV = { ...PATIENT, STEWARD_WORKER_DEPLOYMENT: 'steward' };
const room = temporaryDirectory('upgrade');
const ends: (() => Promise<unknown>)[] = [() => room.remove()];
let steward: Steward;
let next: Awaited<ReturnType<typeof buildNextVersion>>;
beforeAll(async () => {
  next = await buildNextVersion();
  ends.push(() => next.remove());
  steward = await startSteward({ schedules: true, workerEnv: ENV, coordinatorEnv: PATIENT });
  ends.push(() => steward.stop());
}, 180_000);
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

test('worker, coordinator and nodes are upgraded in the middle of the work of all systems: all of it ends, nothing twice', async () => {
  const systems = new FiveSystems(steward, room.path);
  await systems.prepare();
  await slow(steward, ['node-1', 'node-2', 'node-3'], 'delete-region');
  const open = await systems.begin('before');
  await eventually('the removal has its claim', async () => {
    const handle = await steward.client.operations.handle(open.removal);
    return ((await handle.describe()).progress?.total ?? 0) > 0;
  });
  const { buildId: old } = steward.worker.ready as unknown as { buildId: string };

  await replace(steward.coordinator);
  const worker = await startProgram({
    name: 'worker-2',
    program: 'src/worker/main.ts',
    build: next.directory,
    env: {
      DATABASE_URL: steward.databaseUrl,
      TEMPORAL_ADDRESS: steward.temporalAddress,
      TEMPORAL_NAMESPACE: 'default',
      STEWARD_WAREHOUSE: `${steward.directory}/warehouse`,
      ...ENV,
    },
    directory: steward.directory,
    readyTimeoutMs: 60_000,
  });
  ends.push(() => worker.stop());
  const { buildId } = worker.ready as unknown as { buildId: string };
  expect(buildId).toMatch(new RegExp(`^${NEXT_VERSION}-`));
  expect(buildId.split('-')[1]).not.toBe(old.split('-')[1]);
  // Temporal takes it as soon as it asks for work on every queue where the present one does.
  await eventually('the next build is current', () => steward.client.workers.makeCurrent(buildId));
  expect(await steward.worker.stop()).toMatchObject({ code: 0 });
  const later = await systems.begin('between');
  for (const node of steward.nodes) {
    await replace(node);
    await steward.nodesAlive([node.name]);
  }
  await systems.judge();

  // What had begun before keeps its old path, what began later takes the new one; both were ended by the next build.
  expect(await story(open.removal)).toEqual({ timers: 0, failedTasks: 0, endedBy: buildId });
  expect(await story(later.removal)).toEqual({ timers: 1, failedTasks: 0, endedBy: buildId });
  expect(await story(open.job)).toMatchObject({ failedTasks: 0 });
  const findings = await steward.client.doctor.examine();
  expect(findings.filter(({ verdict }) => verdict === 'WRONG')).toEqual([]);
  expect(findings.find(({ check }) => check === 'coordinator')?.found).toContain(NEXT_VERSION);
  expect(findings.find(({ check }) => check === 'builds')?.found).toBe(
    `${buildId} of steward is current, 1 worker runs`,
  );
}, 400_000);

/** Ends a process as whoever operates it would, and starts the next version in its place. */
async function replace(process: TestProcess): Promise<void> {
  expect(await process.stop()).toMatchObject({ code: 0 });
  await process.restart({ build: next.directory });
}

async function story(operationId: string) {
  const { events } = await steward.temporal.client.workflow.getHandle(operationId).fetchHistory();
  const all = events ?? [];
  const ended = all.findLast((event) => event.workflowTaskCompletedEventAttributes);
  return {
    timers: all.filter((event) => event.timerStartedEventAttributes).length,
    failedTasks: all.filter((event) => event.workflowTaskFailedEventAttributes).length,
    endedBy: ended?.workflowTaskCompletedEventAttributes?.deploymentVersion?.buildId,
  };
}
