import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { forgetProcess, livingBuilds, tellProcess } from '../../src/catalog/processes.js';
import type { Builds } from '../../src/client/index.js';
import { steward as run } from '../cli/steward-command.js';
import { eventually } from '../support/eventually.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { type Steward, startSteward } from '../support/steward.js';

const DEPLOYMENT = { STEWARD_WORKER_DEPLOYMENT: 'steward' };

let steward: Steward;
let second: TestProcess | undefined;
beforeAll(async () => {
  steward = await startSteward({ nodes: 1, workerEnv: DEPLOYMENT });
  await steward.nodesAlive();
}, 120_000);
afterAll(async () => {
  await second?.stop();
  await steward?.stop();
});

const cli = (...args: string[]) =>
  run(args, {
    env: steward.clientEnv,
  });

async function build(buildId: string): Promise<Builds['builds'][number] | undefined> {
  return (await steward.client.workers.builds()).builds.find((one) => one.buildId === buildId);
}

/** The build whose worker made the last step of an operation. */
async function builtBy(operationId: string): Promise<string | undefined> {
  const { events } = await steward.temporal.client.workflow.getHandle(operationId).fetchHistory();
  const completed = events?.findLast((event) => event.workflowTaskCompletedEventAttributes);
  return completed?.workflowTaskCompletedEventAttributes?.deploymentVersion?.buildId ?? undefined;
}

async function database(name: string): Promise<string | undefined> {
  await steward.client.databases.create({ name });
  const creation = await steward.client.regionGroups.create({
    database: name,
    kind: 'DATA',
    groups: 1,
    replicationFactor: 1,
  });
  expect(await creation.result()).toMatchObject({ outcome: 'RUNNING' });
  return builtBy(creation.operationId);
}

test('the first worker with a version makes its build current, named after its workflow code; operations run', async () => {
  const { buildId } = steward.worker.ready as unknown as { buildId: string };
  expect(buildId).toMatch(/^\d+\.\d+\.\d+-[0-9a-f]{12}$/);
  expect(await database('first')).toBe(buildId);
  expect(await steward.client.workers.builds()).toEqual({
    deployment: 'steward',
    builds: [
      { buildId, state: 'CURRENT', workers: 1, pinned: 0, since: expect.stringMatching(/^20/) as string },
    ],
  });
});

test('another build gets work when an operator makes it current, or a share of it; doctor tells of both', async () => {
  const { buildId: first } = steward.worker.ready as unknown as { buildId: string };
  second = await startProgram({
    name: 'worker-2',
    program: 'src/worker/main.ts',
    env: {
      DATABASE_URL: steward.databaseUrl,
      TEMPORAL_ADDRESS: steward.temporalAddress,
      TEMPORAL_NAMESPACE: 'default',
      ...DEPLOYMENT,
      STEWARD_BUILD_ID: 'next',
    },
    directory: steward.directory,
  });
  await eventually('the next build asks for work', () => build('next'));
  expect(await build('next')).toMatchObject({ state: 'IDLE', workers: 1 });
  expect(await database('before')).toBe(first);

  const unknown = await cli('worker', 'make-current', 'nothing', '--json');
  expect(unknown.code).toBe(2);
  expect(unknown.document()).toMatchObject({ error: { code: 'NOT_FOUND' } });
  const planned = await cli('worker', 'make-current', 'next', '--dry-run', '--json');
  expect(planned.document()).toMatchObject({ dryRun: true, plan: { action: 'make-current', build: 'next' } });
  expect(await build('next')).toMatchObject({ state: 'IDLE' });

  const ramped = await cli('worker', 'ramp', 'next', '100', '--json');
  expect(ramped.document()).toMatchObject({
    builds: [{ buildId: 'next', state: 'RAMPING', percentage: 100 }, {}],
  });
  expect(await database('ramped')).toBe('next');
  await cli('worker', 'ramp', 'next', '0');
  expect(await build('next')).toMatchObject({ state: 'IDLE' });

  const made = await cli('worker', 'make-current', 'next');
  expect(made.stderr).toBe('');
  expect(made.stdout).toMatch(/^next is current\n[\s\S]*\nnext +CURRENT +1 +0 /);
  expect(await database('after')).toBe('next');
  const findings = await steward.client.doctor.examine();
  expect(findings.find(({ check }) => check === 'builds')).toMatchObject({
    verdict: 'OK',
    found: 'next of steward is current, 1 worker runs',
  });
}, 60_000);

test('a build that is left by all its workers is told of, and followed by one that lives', async () => {
  const { buildId: first } = steward.worker.ready as unknown as { buildId: string };
  await second!.stop();
  const findings = await steward.client.doctor.examine();
  expect(findings.find(({ check }) => check === 'builds')).toMatchObject({
    verdict: 'WRONG',
    found: 'next of steward is given all work, and no worker of it runs',
    fix: `start one; or steward worker make-current ${first}`,
  });
  // Nobody does anything: the operation waits until the other build has taken over.
  expect(await database('orphaned')).toBe(first);
  await eventually('it is told as current', async () => (await build(first))?.state === 'CURRENT');
  expect(await build(first)).toMatchObject({ state: 'CURRENT', workers: 1 });
}, 90_000);

test('a build lives as long as a worker of it tells of itself, and in its own deployment alone', async () => {
  const { catalog } = steward;
  const worker = {
    kind: 'worker',
    version: '0.0.0',
    host: 'elsewhere',
    pid: 1,
    taskQueue: 'steward',
    nodeTimeoutMs: 15_000,
  } as const;
  const killed = randomUUID();
  await tellProcess(catalog, {
    ...worker,
    processId: killed,
    build: { deployment: 'kills', buildId: 'killed' },
  });
  expect(await livingBuilds(catalog, 'kills')).toEqual(['killed']);
  expect(await livingBuilds(catalog, DEPLOYMENT.STEWARD_WORKER_DEPLOYMENT)).not.toContain('killed');
  await catalog
    .updateTable('control_process')
    .set({ last_seen: sql<Date>`now() - interval '16 seconds'` })
    .where('process_id', '=', killed)
    .execute();
  expect(await livingBuilds(catalog, 'kills')).toEqual([]);
  await forgetProcess(catalog, killed);
});

test('an open workflow that is pinned to a build without workers is told of', async () => {
  const { buildId: first } = steward.worker.ready as unknown as { buildId: string };
  await steward.temporal.client.workflow.start('purgeJobState', {
    workflowId: 'pinned',
    taskQueue: 'steward',
    args: [
      { jobId: 'pinned', owner: '00000000-0000-4000-8000-000000000000', delayMs: 600_000, actor: 'tester' },
    ],
    versioningOverride: { pinnedTo: { deploymentName: 'steward', buildId: 'next' } },
  });
  await eventually('it is counted', async () => (await build('next'))?.pinned === 1);
  const findings = await steward.client.doctor.examine();
  expect(findings.find(({ check }) => check === 'builds')).toMatchObject({
    verdict: 'WRONG',
    found: '1 open workflow is pinned to next of steward, and no worker of it runs',
  });
  expect(await database('others')).toBe(first);
});
