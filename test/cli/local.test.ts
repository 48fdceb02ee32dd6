import { mkdir, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identityOf } from '../../src/process-identity.js';
import { eventually } from '../support/eventually.js';
import { killWithUs, temporaryDirectory } from '../support/guard.js';
import { type Ended, startCommand, steward } from './steward-command.js';

let home: ReturnType<typeof temporaryDirectory>;
beforeEach(() => {
  home = temporaryDirectory('cli-local');
});
afterEach(async () => {
  await cli('local stop');
  await home.remove();
}, 90_000);

function cli(line: string): Promise<Ended> {
  return steward(line.split(' '), { env: { STEWARD_HOME: home.path } });
}

interface Status {
  state: string;
  supervisorPid: number;
  coordinator: string;
  processes: { name: string; state: string; pid: number }[];
}

/** What the tour says, system by system. */
const HAPPENED: readonly (readonly [system: string, happened: RegExp])[] = [
  [
    'regions',
    /created region group 6 and removed it; .* the sweep of \S+ compared 3 nodes .*: 0 leaked, 0 missing/,
  ],
  ['optimizing', /200 small files of 20 rows ingested, merged into \d+; 4000 rows/],
  ['heal', /process \d+ was stuck before its commit .* 3 files before, 1 after; 60 rows before and after/],
  [
    'optimizers',
    /killed the process .* its keeper restarted it as launch \d+ .* 2 optimizers with 2 threads/,
  ],
  [
    'jobs',
    /read 120 rows and wrote 108 .* found to be a zombie, and finished after \d+ restarts?: 100 of 100 rows out/,
  ],
  ['cleanup', /the state of job hangs-\w+, .* was gone \S+ after its end .* stays as a tombstone until 2/],
];

test('it is started twice: in the foreground it gives the tour and a status page, and Ctrl-C stops everything; for scripts it has the same data, and no tour', async () => {
  const { child, ended } = startCommand(['local', 'start', '--tour'], { env: { STEWARD_HOME: home.path } });
  let printed = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  await eventually(
    'the status page',
    () => printed.includes('Web UI') && printed.includes('PROCESS'),
    120_000,
  );
  const first = (await cli('local status --json')).document() as Status;
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  expect(code, stderr).toBe(0);
  expect(stderr.match(/demo\s+DATA\s+RUNNING/g)).toHaveLength(4);
  expect(stderr).toMatch(/demo\s+SCHEMA\s+RUNNING\s+3\/3\s+node-1 node-2 node-3/);
  const page = stderr.replaceAll(/\s+/g, ' ');
  expect(page).toContain('making database demo');
  for (const [system, happened] of HAPPENED) expect(page, system).toMatch(happened);
  for (const { pid, name } of first.processes) expect(identityOf(pid), name).toBeUndefined();

  const started = await cli('local start --detach --tour --json');
  expect(started.code, started.stderr).toBe(0);
  const status = started.document() as Status;
  killWithUs(identityOf(status.supervisorPid)!);
  expect(status.state).toBe('running');
  expect(started.stderr.match(/demo\s+DATA\s+RUNNING/g)).toHaveLength(4);
  expect(started.stderr).not.toContain('making database demo');
  expect(started.stderr).not.toContain('What happened, system by system:');

  const [again, seen, groups, operations] = await Promise.all([
    cli('local start --detach --json'),
    cli('local status --json'),
    cli('region-group list --database demo --json'),
    cli('operation list --all'),
  ]);
  expect(again.document()).toMatchObject({ error: { code: 'ALREADY_RUNNING' } });
  expect(again.code).toBe(3);
  expect(seen.document()).toEqual(status);
  const { regionGroups } = groups.document() as { regionGroups: { kind: string; state: string }[] };
  expect(regionGroups).toHaveLength(5);
  expect(regionGroups.filter(({ kind }) => kind === 'DATA')).toHaveLength(4);
  expect(operations.stdout).toMatch(/database\/demo\/create\/initial-data\s+COMPLETED/);

  const stopped = await cli('local stop --json');
  expect(stopped.document()).toEqual({ outcome: 'stopped' });
  for (const { pid, name } of status.processes) expect(identityOf(pid), name).toBeUndefined();
  expect((await cli('local stop --json')).document()).toEqual({ outcome: 'not-running' });
  expect((await cli('node list')).stderr).toMatch(/^steward: no Steward runs here/);
}, 300_000);

test('a damaged stack file is one clear line', async () => {
  await mkdir(`${home.path}/run`, { recursive: true });
  await writeFile(`${home.path}/run/stack.json`, '{"version":');
  const { code, stderr } = await cli('node list');
  expect(stderr).toMatch(
    /^steward: .*stack\.json cannot be read \(it is not JSON\): remove it, then repeat\n$/,
  );
  expect(code).toBe(1);
  await rm(`${home.path}/run/stack.json`);
});
