import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type OptimizingSteward, SOON, startOptimizingSteward } from '../optimizing/optimizing-steward.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import { type Ended, steward as run } from './steward-command.js';

/** What `operation pause --all` holds besides regions: keepers, heals and the start of jobs. */
let steward: OptimizingSteward;
beforeAll(async () => {
  steward = await startOptimizingSteward();
}, 120_000);
afterEach(() => cli('operation resume --all'));
afterAll(() => steward?.stop());

const HELD = 'PAUSED with everything by tester: network works';

function cli(line: string, ...rest: readonly string[]): Promise<Ended> {
  return run([...line.split(' '), ...rest], {
    env: steward.clientEnv,
  });
}

async function pauseAll(): Promise<void> {
  const { code, stderr } = await cli('operation pause --all --reason', 'network works');
  expect(code, stderr).toBe(0);
}

async function isHeld(operationId: string, what: string): Promise<boolean> {
  const { blockers } = await steward.client.operations.get(operationId);
  return blockers.some((blocker) => blocker.startsWith(what) && blocker.includes(HELD));
}

test('a keeper goes on with its cycles and restarts nobody, until everything is resumed', async () => {
  const settings = {
    autoRestart: true,
    minParallelism: 1,
    threadsPerOptimizer: 1,
    memoryMbPerOptimizer: 128,
    gracePeriodMs: 8_000,
    heartbeatTimeoutMs: 3_000,
  };
  const { optimizerGroups } = steward.client;
  await optimizerGroups.create({ name: 'kept', settings, intervalMs: 100 });
  const first = await eventually(
    'its optimizer lives',
    async () => {
      const { resources } = await optimizerGroups.get('kept');
      return resources.find(
        ({ state, launch, optimizer }) =>
          state === 'STARTED' && optimizer?.alive && optimizer.launch === launch,
      );
    },
    60_000,
  );
  await pauseAll();
  await eventually('the keeper says so', async () => (await optimizerGroups.get('kept')).open.includes(HELD));
  process.kill(Number.parseInt(first.processId!, 10), 'SIGKILL');
  await eventually('it is silent for longer than time-out and grace', async () => {
    const { resources } = await optimizerGroups.get('kept');
    return (resources[0]?.optimizer?.silentMs ?? 0) > 5_500;
  });
  const cycles = async () => (await steward.events('optimizer-group/kept')).activities.length;
  const before = await cycles();
  await eventually('three more cycles', async () => (await cycles()) >= before + 3);
  const held = await optimizerGroups.get('kept');
  expect(held.resources).toMatchObject([
    { resourceId: first.resourceId, launch: first.launch, state: 'STARTED' },
  ]);

  await cli('operation resume --all');
  await eventually('it is restarted', async () => {
    const { resources } = await optimizerGroups.get('kept');
    return resources.some(({ launch, optimizer }) => launch > first.launch && optimizer?.alive);
  });
}, 180_000);

test('a heal finds what is stuck and changes nothing, until everything is resumed', async () => {
  await steward.optimizer('node-1', { 'merge-delay-ms': '700' });
  const table = await steward.table('stuck', 5);
  const processId = await steward.optimize(table);
  const lock = await steward.hold(`SELECT FROM data_table WHERE name = '${table}' FOR UPDATE`);
  await eventually('its commit has given up', () =>
    steward
      .warnings(steward.coordinator)
      .some(({ msg, table: of }) => msg === 'settling failed' && of === table),
  );
  await lock.release();
  await pauseAll();
  const handle = await steward.client.heals.run({ graces: SOON });
  await eventually('the heal is held', () => isHeld(handle.operationId, 'the healing'));
  expect(await steward.status(table)).toMatchObject({ status: 'FULL_OPTIMIZING', files: 5 });
  expect(await steward.process(processId)).toMatchObject({ state: 'RUNNING', committing_since: null });

  await cli('operation resume --all');
  expect((await handle.result()).healed).toMatchObject([{ table, processId, shape: 'S1' }]);
  await steward.idle(table);
  expect(await steward.status(table)).toMatchObject({ files: 1 });
}, 180_000);

test('a job gets no node, until everything is resumed', async () => {
  await pauseAll();
  const directory = join(steward.directory, 'held');
  const handle = await steward.client.jobs.submit({ jobId: 'held', job: rateJob(directory, { rows: 50 }) });
  await eventually('the job is held', () => isHeld('job/held', 'job held'));
  const held = await steward.client.jobs.get('held');
  expect(held.state).toBe('CREATED');
  expect(held.locations.map(({ nodeId }) => nodeId)).toEqual([undefined]);

  await cli('operation resume --all');
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', rowsOut: 50 });
}, 180_000);
