import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SCHEDULES } from '../../src/temporal/schedules.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/ports.js';
import { type Steward, startSteward } from '../support/steward.js';
import { type Ended, steward as run } from './steward-command.js';

interface Finding {
  readonly check: string;
  readonly verdict: 'OK' | 'WARN' | 'WRONG';
  readonly found: string;
  readonly fix?: string;
}

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ schedules: true });
  await steward.nodesAlive();
}, 120_000);
afterAll(() => steward.stop());

function cli(line: string, env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return run(line.split(' '), {
    env: {
      ...steward.clientEnv,
      ...env,
    },
  });
}

async function doctor(
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; findings: Finding[]; bad: Finding[] }> {
  const { code, document } = await cli('doctor --json', env);
  const { ok, findings } = document() as { ok: boolean; findings: Finding[] };
  expect(ok).toBe(code === 0);
  for (const { verdict, fix } of findings) expect(fix === undefined).toBe(verdict === 'OK');
  return { code, findings, bad: findings.filter(({ verdict }) => verdict !== 'OK') };
}

/** Asks until it finds exactly what is expected to be bad. */
async function finds(...expected: readonly Partial<Finding>[]): Promise<void> {
  let last: unknown;
  await eventually(
    'the doctor finds it',
    async () => {
      const { code, bad } = await doctor();
      last = bad;
      const isWrong = bad.some(({ verdict }) => verdict === 'WRONG');
      expect(code).toBe(isWrong ? 1 : 0);
      return matches(bad, expected);
    },
    40_000,
  ).catch(() => {});
  expect(last).toEqual(expected.map((one) => expect.objectContaining(one)));
}

function matches(bad: readonly Finding[], expected: readonly Partial<Finding>[]): boolean {
  try {
    expect(bad).toEqual(expected.map((one) => expect.objectContaining(one)));
    return true;
  } catch {
    return false;
  }
}

const text = (pattern: RegExp) => expect.stringMatching(pattern) as string;

test('where all is well nothing is found, in 80 columns, and the exit code is 0', async () => {
  await finds();
  const { code, stdout, stderr } = await cli('doctor');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  for (const check of [
    'temporal',
    'search attributes',
    'schedules',
    'coordinator',
    'catalog',
    'workers',
    'settings',
    'node node-1',
    'disk node-3',
    'clocks',
    'heals',
    'keepers',
    'tombstones',
    'pauses',
  ]) {
    expect(stdout).toMatch(new RegExp(`^ok +${check} `, 'm'));
  }
});

test('Temporal, its namespace and the coordinator are told apart when they are away', async () => {
  const nowhere = `127.0.0.1:${await freePort()}`;
  const [temporal, namespace, coordinator] = await Promise.all([
    doctor({ TEMPORAL_ADDRESS: nowhere }),
    doctor({ TEMPORAL_NAMESPACE: 'elsewhere' }),
    doctor({ STEWARD_COORDINATOR_URL: `http://${nowhere}` }),
  ]);
  expect(temporal.bad).toEqual([
    expect.objectContaining({ check: 'temporal', verdict: 'WRONG', found: text(/cannot be reached/) }),
  ]);
  expect(namespace.bad).toEqual([
    expect.objectContaining({
      check: 'temporal',
      verdict: 'WRONG',
      found: text(/has no namespace elsewhere/),
      fix: text(/namespace create --namespace elsewhere/),
    }),
  ]);
  expect(coordinator.bad).toEqual([
    expect.objectContaining({ check: 'coordinator', verdict: 'WRONG', found: text(/cannot be reached/) }),
    expect.objectContaining({ check: 'the rest', verdict: 'WARN' }),
  ]);
  for (const { code } of [temporal, namespace, coordinator]) expect(code).toBe(1);
});

test('a schedule that is missing is wrong, one that is paused a warning; the fixes mend both', async () => {
  const [missing, paused] = [SCHEDULES[0]!.scheduleId, SCHEDULES[1]!.scheduleId];
  const { schedule } = steward.temporal.client;
  await schedule.getHandle(missing).delete();
  await schedule.getHandle(paused).pause('upgrade tonight');
  await finds(
    {
      check: 'schedules',
      verdict: 'WARN',
      found: `${paused} is paused: upgrade tonight`,
      fix: `steward schedule resume ${paused}`,
    },
    { check: 'schedules', verdict: 'WRONG', found: `${missing} is missing`, fix: 'steward schedule ensure' },
  );
  await cli('schedule ensure');
  await cli(`schedule resume ${paused}`);
  await finds();
}, 120_000);

test('a worker that was killed is missed, and so is one that serves another task queue', async () => {
  await steward.worker.kill();
  await finds({
    check: 'workers',
    verdict: 'WRONG',
    found: text(/^none runs: the last one, \d+@.*, told of itself \d+ s ago$/),
  });
  await steward.worker.restart({ env: { STEWARD_TASK_QUEUE: 'elsewhere' } });
  await finds({
    check: 'workers',
    verdict: 'WRONG',
    found: 'none serves task queue steward, only elsewhere',
  });
  // Also brings the schedules back to the task queue.
  await steward.worker.stop();
  await steward.worker.restart({ env: { STEWARD_TASK_QUEUE: 'steward' } });
  await finds();
}, 150_000);

test('coordinators and workers that do not agree on the node time-out are named', async () => {
  await steward.worker.stop();
  await steward.worker.restart({ env: { STEWARD_NODE_TIMEOUT_MS: '7000' } });
  await finds({
    check: 'settings',
    verdict: 'WRONG',
    found: text(/^STEWARD_NODE_TIMEOUT_MS is 2000 at coordinator \d+@\S+ and 7000 at worker \d+@\S+: /),
  });
  await steward.worker.stop();
  await steward.worker.restart({ env: { STEWARD_NODE_TIMEOUT_MS: '2000' } });
  await finds();
}, 120_000);

test('a catalog that lacks a migration is wrong, one that is newer than the coordinator a warning', async () => {
  const { rows } = await sql<{ name: string }>`
    SELECT name FROM kysely_migration ORDER BY name DESC LIMIT 1
  `.execute(steward.catalog);
  const newest = rows[0]!.name;
  const rename = (from: string, to: string) =>
    sql`UPDATE kysely_migration SET name = ${to} WHERE name = ${from}`.execute(steward.catalog);
  await rename(newest, '9999-future');
  await finds({ check: 'catalog', verdict: 'WRONG', found: `it lacks ${newest}` });
  await rename('9999-future', newest);
  await sql`INSERT INTO kysely_migration (name, timestamp) VALUES ('9999-future', 'z')`.execute(
    steward.catalog,
  );
  await finds({
    check: 'catalog',
    verdict: 'WARN',
    found: text(/it has 9999-future, which this coordinator/),
  });
  await sql`DELETE FROM kysely_migration WHERE name = '9999-future'`.execute(steward.catalog);
  await finds();
}, 120_000);

test('a node that was killed is silent, with what is on it; one whose clock is off is a warning', async () => {
  const node = steward.node('node-2');
  await node.kill();
  await finds({
    check: 'node node-2',
    verdict: 'WRONG',
    found: text(/^silent for \d+ s$/),
    fix: text(/start it again on its disk.*forget-replica <id> --node node-2/),
  });
  const slow =
    'const now = Date.now; const D = Date; globalThis.Date = class extends D { constructor(...a) { a.length ? super(...a) : super(now() - 60000); } static now() { return now() - 60000; } };';
  await node.restart({
    env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(slow)}` },
  });
  await finds({
    check: 'clocks',
    verdict: 'WARN',
    found: text(/^the clock of node node-2 is (59|60|61)\.\d s behind the one here$/),
  });
  await node.restart({ env: { NODE_OPTIONS: '' } });
  await finds();
}, 120_000);

test('a node that beats and does not answer, because it is reached elsewhere, is a warning', async () => {
  const away = `http://127.0.0.1:${await freePort()}`;
  const first = await steward.addNode('node-4', { flags: [`--advertise=${away}`] });
  await finds({
    check: 'node node-4',
    verdict: 'WARN',
    found: text(new RegExp(`^sends heartbeats, and does not answer at ${away}: `)),
  });
  const shown = await run(['node', 'show', 'node-4'], { env: steward.clientEnv });
  expect(shown.stderr).toMatch(/^cannot be shown: what it has under way: node-4 at \S+ cannot be reached/);
  expect(shown.stdout).toMatch(/^node +node-4\nstate +alive\n/);
  expect(shown.code).toBe(0);
  await first.kill();
  await steward.addNode('node-4', {
    flags: [`--advertise=${steward.nodeUrl('node-1')}`],
    directory: join(steward.directory, 'node-4-again'),
  });
  await finds({
    check: 'node node-4',
    verdict: 'WRONG',
    found: text(/^another node answers at .*: node-1 with ledger /),
  });
  await steward.node('node-4').kill();
  await sql`DELETE FROM node WHERE node_id = 'node-4'`.execute(steward.catalog);
  await finds();
}, 120_000);

test('a disk that is nearly full is wrong', async (context) => {
  const disk = join(steward.directory, 'small-disk');
  mkdirSync(disk);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk]);
  if (mounted.status !== 0) context.skip('no file system can be mounted here');
  try {
    const node = await steward.addNode('node-5', { directory: join(disk, 'data') });
    await finds({
      check: 'disk node-5',
      verdict: 'WRONG',
      found: text(/^\d+\.\d MiB of 64\.0 MiB free$/),
      fix: text(/^free space where node-5 has its data/),
    });
    await node.stop();
    await sql`DELETE FROM node WHERE node_id = 'node-5'`.execute(steward.catalog);
  } finally {
    spawnSync('umount', ['-l', disk]);
  }
  await finds();
}, 120_000);

test('an open breaker and a group without a keeper are wrong', async () => {
  const { catalog } = steward;
  // Would start the keeper.
  await cli('schedule pause steward/ensure-keepers');
  await sql`INSERT INTO breaker (name, state, reason) VALUES ('heal', 'OPEN', '12 of 20 processes are stuck')
    ON CONFLICT (name) DO UPDATE SET state = 'OPEN', reason = excluded.reason`.execute(catalog);
  await catalog
    .insertInto('optimizer_group')
    .values({ name: 'unkept', container: 'external', created_by: 'tester', properties: '{}', settings: '{}' })
    .execute();
  await finds(
    { check: 'schedules', verdict: 'WARN' },
    {
      check: 'heals',
      verdict: 'WRONG',
      found: text(/12 of 20 processes are stuck/),
      fix: text(/steward heal ack$/),
    },
    { check: 'keepers', verdict: 'WRONG', found: text(/^optimizer group unkept has no keeper/) },
  );
  await catalog.deleteFrom('optimizer_group').where('name', '=', 'unkept').execute();
  await cli('heal ack');
  await cli('schedule resume steward/ensure-keepers');
  await finds();
}, 120_000);

test('a keeper that is paused is a warning, and the fix lets it go on', async () => {
  await cli('optimizer-group create rested --container external');
  await cli('optimizer-group pause rested --reason moving');
  await finds({
    check: 'keepers',
    verdict: 'WARN',
    found: 'that of optimizer group rested is paused: moving (tester)',
    fix: 'steward optimizer-group resume rested',
  });
  await cli('optimizer-group resume rested');
  await finds();
}, 120_000);

test('a tombstone that nobody purges is a warning; the fix purges it', async () => {
  await cli('schedule pause steward/sweep-jobs');
  await sql`INSERT INTO job (job_id, owner, state, execution, spec, actor, ended_at, free_at)
    VALUES ('old', gen_random_uuid(), 'FINISHED', 1, '{"env":{"jobMode":"BATCH","retryTimes":0}}', 'tester',
      now() - interval '2 hours', now() - interval '1 hour')`.execute(steward.catalog);
  await finds(
    { check: 'schedules', verdict: 'WARN' },
    {
      check: 'tombstones',
      verdict: 'WARN',
      found: text(/^1 overdue: the state of job old should have been purged at /),
      fix: text(/^steward schedule trigger steward\/sweep-jobs/),
    },
  );
  await cli('schedule trigger steward/sweep-jobs');
  await finds({ check: 'schedules', verdict: 'WARN' });
  await cli('schedule resume steward/sweep-jobs');
  await finds();
}, 120_000);

test('what is paused is a warning', async () => {
  await steward.client.operations.pause(undefined, 'disk swap');
  await finds({
    check: 'pauses',
    verdict: 'WARN',
    found: text(/^everything is paused by tester since .*: disk swap$/),
    fix: 'steward operation resume --all',
  });
  await cli('operation resume --all');
  await finds();
  const groups = await steward.database('held', 1);
  await steward.node('node-1').kill('SIGSTOP');
  const removal = await steward.client.regionGroups.remove({ groups });
  await steward.client.operations.pause(removal.operationId, 'disk swap');
  await steward.node('node-1').kill('SIGCONT');
  await finds({
    check: 'pauses',
    verdict: 'WARN',
    found: text(/^region-group\/\d+\/remove is paused by tester since .*: disk swap$/),
    fix: `steward operation resume ${removal.operationId}`,
  });
  await cli(`operation resume ${removal.operationId}`);
  await removal.result();
  await finds();
}, 120_000);

test('search attributes that are missing, or are of another type, are wrong', async () => {
  const { operatorService } = steward.temporal.client.connection as import('@temporalio/client').Connection;
  await operatorService.removeSearchAttributes({ namespace: 'default', searchAttributes: ['StewardPhase'] });
  await finds({
    check: 'search attributes',
    verdict: 'WRONG',
    found: text(/^StewardPhase is missing/),
    fix: text(/search-attribute create --namespace default --name StewardPhase --type Keyword/),
  });
  await operatorService.addSearchAttributes({ namespace: 'default', searchAttributes: { StewardPhase: 3 } });
  await finds({
    check: 'search attributes',
    verdict: 'WRONG',
    found: text(/^StewardPhase must be of type Keyword/),
  });
}, 120_000);
