import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { readJobFile } from '../../src/model/job-file.js';
import { idsIn, numbers, writeCsv } from '../jobs/task-groups.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { type Steward, startSteward } from '../support/steward.js';
import { type Ended, steward as run } from './steward-command.js';

const room = temporaryDirectory('jobs');
let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

/** A command line against the cluster. */
function cli(line: string): Promise<Ended> {
  return run(line.split(' '), { env: steward.clientEnv });
}

function file(name: string, content: string): string {
  const path = join(room.path, `${name}.yaml`);
  writeFileSync(path, content);
  return path;
}

const batch = (name: string, more = '') => {
  writeCsv(join(room.path, `${name}.csv`), 1, 100);
  return file(
    name,
    `job: ${name}\n${more}pipelines:\n  - source: { files: [${name}.csv] }\n    sink: { directory: ${name}-out, format: csv }\n`,
  );
};
const submissionOf = (path: string) => {
  const { jobId, job } = readJobFile(readFileSync(path, 'utf8'), room.path);
  return { jobId: jobId!, job };
};
const stream = (name: string) =>
  file(
    name,
    `job: ${name}\nenv: { jobMode: STREAMING, checkpointInterval: 100ms }\npipelines:\n  - source: { rate: { rowsPerSecond: 500 } }\n    sink: { directory: ${name}-out, format: csv }\n`,
  );

test('a job is planned, run and waited for, listed and shown', async () => {
  const path = batch('orders');
  const plan = await cli(`job submit ${path} --dry-run --json`);
  expect(plan.document()).toMatchObject({
    dryRun: true,
    plan: { jobId: 'orders', job: { env: { jobMode: 'BATCH' } } },
  });
  expect(await steward.client.jobs.list()).toEqual([]);

  const ended = await cli(`job submit ${path} --wait`);
  expect(ended).toMatchObject({ code: 0, stdout: 'job orders is FINISHED: 100 rows in, 100 rows out\n' });
  expect(idsIn(join(room.path, 'orders-out'))).toEqual(numbers(1, 100));
  expect((await cli('job list --running --json')).document()).toEqual({ jobs: [] });
  expect((await cli('job list --json')).document()).toMatchObject({
    jobs: [{ jobId: 'orders', state: 'FINISHED', rowsOut: 100 }],
  });
  const shown = await cli('job show orders');
  expect(shown.stdout).toMatch(/state +FINISHED/);
  expect(shown.stdout).toContain('id free at');
});

test('exit code 3: a tombstone, with the time at which the id is free, and an id in use', async () => {
  const path = batch('kept');
  await cli(`job submit ${path} --wait`);
  const refused = await cli(`job submit ${path} --json`);
  expect(refused.code).toBe(3);
  expect(refused.document()).toMatchObject({ error: { code: 'REJECTED', details: 'JOB_TOMBSTONE' } });
  expect(refused.stderr).toMatch(/its id is free at \d{4}-\d\d-\d\dT/);

  const running = stream('busy');
  expect((await cli(`job submit ${running}`)).code).toBe(0);
  const again = await cli(`job submit ${running} --json`);
  expect(again.code).toBe(3);
  expect(again.document()).toMatchObject({ error: { code: 'HELD', holder: { workflowId: 'job/busy' } } });
  const waited = await cli('job wait busy --timeout 200ms');
  expect(waited.code).toBe(4);
  expect((await cli('job cancel busy')).stdout).toContain('job busy is CANCELED');
  expect((await cli('job cancel busy')).code).toBe(3);
  expect((await cli('job wait busy')).code).toBe(1);
});

test('waiting for a job that is over tells how it ended, and not what was refused since then', async () => {
  const path = batch('over', 'env: { stateCleanupDelay: 1h }\n');
  await (await steward.client.jobs.submit(submissionOf(path))).result();
  await expect(steward.client.jobs.submit(submissionOf(path))).rejects.toMatchObject({
    details: 'JOB_TOMBSTONE',
  });
  const waited = await cli('job wait over --json');
  expect(waited).toMatchObject({ code: 0, stderr: '' });
  expect(waited.document()).toMatchObject({
    job: { state: 'FINISHED' },
    end: { outcome: 'FINISHED', rowsOut: 100 },
  });
  const unknown = await cli('job wait nobody');
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('job nobody does not exist') });
  const malformed = await cli('job show ../up');
  expect(malformed).toMatchObject({ code: 2, stderr: expect.stringContaining('1 to 63 letters, digits') });
});

test('a stream is cancelled with a savepoint and submitted from it, over the tombstone', async () => {
  const path = stream('clicks');
  await cli(`job submit ${path}`);
  await eventually('rows', () => idsIn(join(room.path, 'clicks-out')).length > 100);
  expect((await cli('job cancel clicks --savepoint --json')).document()).toMatchObject({
    end: { outcome: 'SAVEPOINT_DONE' },
  });
  expect((await cli(`job submit ${path} --from-savepoint --json`)).document()).toMatchObject({
    job: { restored: true },
  });
  expect((await cli('job cancel clicks --dry-run')).stdout).toContain('would ask this job to end');
  expect((await cli('job cancel clicks')).code).toBe(0);
  const ids = idsIn(join(room.path, 'clicks-out'));
  expect(ids).toEqual(numbers(0, ids.length));
});

test.each([
  ['a file that is not there', () => 'nowhere.yaml', 'cannot be read: ENOENT'],
  ['a malformed file', () => file('broken', 'job: [x\n'), 'line '],
  [
    'an unknown source',
    () => file('kafka', 'job: k\npipelines:\n  - source: { kafka: topic }\n    sink: { directory: o }\n'),
    'line 3: pipelines.0.source: unknown source',
  ],
  [
    'no job id',
    () => file('nameless', 'pipelines:\n  - source: { files: [a.csv] }\n    sink: { directory: o }\n'),
    'give --job-id',
  ],
  [
    'duplicate task ids',
    () =>
      file(
        'twice',
        'job: t\npipelines:\n  - source: { format: csv }\n    sink: { directory: o }\n    taskGroups: [{ id: 1, files: [a] }, { id: 1, files: [b] }]\n',
      ),
    'task group 1 is there twice',
  ],
])('I10: %s exits with 2 and says why; nothing is started', async (_what, path, problem) => {
  const ended = await cli(`job submit ${path()}`);
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toContain(problem);
  expect(await steward.client.jobs.list({ running: true })).toEqual([]);
});

test('I10: a missing input file, a sink that is no directory and a node that refuses fail the job, each naming its cause', async () => {
  const missing = file(
    'missing',
    'job: missing\npipelines:\n  - source: { files: [not-there.csv] }\n    sink: { directory: o1 }\n',
  );
  const first = await cli(`job submit ${missing} --wait`);
  expect(first.code).toBe(1);
  expect(first.stderr).toContain('not-there.csv');

  mkdirSync(join(room.path, 'parent'));
  writeFileSync(join(room.path, 'parent', 'taken'), 'a file');
  writeCsv(join(room.path, 'in.csv'), 1, 10);
  const sink = file(
    'sink',
    'job: sink\npipelines:\n  - source: { files: [in.csv] }\n    sink: { directory: parent/taken }\n',
  );
  const second = await cli(`job submit ${sink} --wait`);
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(/EEXIST|ENOTDIR/);

  const sql = file(
    'sql',
    'job: sql\npipelines:\n  - source: { files: [in.csv] }\n    transform: DROP TABLE source\n    sink: { directory: o3 }\n',
  );
  const third = await cli(`job submit ${sql} --wait`);
  expect(third.code).toBe(1);
  for (const jobId of ['missing', 'sink', 'sql']) {
    expect(await steward.client.jobs.get(jobId)).toMatchObject({
      state: 'FAILED',
      pipelines: [{ state: 'FAILED' }],
      owedCancels: [],
    });
  }
});

test('a job that waits for places says so when it is shown', async () => {
  const wide = file(
    'wide',
    'job: wide\npipelines:\n  - source: { rate: { rows: 193, rowsPerSecond: 1 } }\n    sink: { directory: o4 }\n    taskGroups: 193\n',
  );
  await cli(`job submit ${wide}`);
  const shown = await eventually('its blocker', async () => {
    const { stdout } = await cli('job show wide');
    return stdout.includes('blocked by') && stdout;
  });
  expect(shown).toContain('not enough places for task groups');
  expect((await cli('job cancel wide')).code).toBe(0);
});

test('sweep run looks after jobs as well', async () => {
  const swept = (await cli('sweep run --json')).document();
  expect(swept).toMatchObject({ jobs: { outcome: 'DONE', result: { drivenOn: [], purges: [] } } });
});
