import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { projectRoot } from '../../src/project.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { offeredByBash } from './completing.js';
import { type Ended, steward as run } from './steward-command.js';
import { hasTerminal, onTerminal, plain } from './terminal.js';

const LONG = `a${'-very-long-name'.repeat(4)}`;
let steward: Steward;
let blocked: string;
beforeAll(async () => {
  steward = await startSteward();
  const [group] = await steward.database(LONG, 1);
  await steward.fault('node-1', {
    target: 'delete-region',
    kind: { case: 'delay', value: durationFromMs(600_000) },
  });
  await steward.fault('node-2', { target: 'Submit', kind: { case: 'error', value: 'unavailable' } });
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  blocked = removal.operationId;
  await eventually('it is blocked', async () => {
    const { blockers } = await steward.client.operations.get(blocked);
    return blockers.length > 0;
  });
}, 120_000);
afterAll(() => steward.stop());

function cli(line: string): Promise<Ended> {
  return run(line.split(' '), { env: steward.clientEnv });
}

function fits(text: string): void {
  for (const line of text.split('\n')) expect(Array.from(line).length, line).toBeLessThanOrEqual(80);
}

test('top shows nodes, what runs, its progress and what blocks it, in 80 columns', async () => {
  const page = await eventually('the operation is listed', async () => {
    const { stdout } = await cli('top --once');
    return stdout.includes(blocked) && stdout;
  });
  fits(page);
  expect(page).not.toContain('\u001b');
  expect(page).toMatch(/3 of 3 nodes alive, \d+ running/);
  expect(page).toMatch(/NODES\n[\s\S]*node-1[\s\S]*node-3/);
  expect(page).toMatch(new RegExp(`OPERATIONS\\n[\\s\\S]*${blocked} +\\S+ +1/3 +node-2 does`));
  const { document } = await cli('top --json');
  expect(document()).toMatchObject({
    overview: { problems: [], pauses: [], nodes: [{}, {}, {}], orphans: [], jobs: [], tombstones: [] },
  });
});

test('what cannot be asked is told, and the rest is shown', async () => {
  const { stdout } = await run(['top', '--once'], {
    env: { ...steward.clientEnv, TEMPORAL_ADDRESS: '127.0.0.1:1' },
  });
  expect(stdout).toMatch(/cannot be shown: heals, operations: Temporal at 127\.0\.0\.1:1 cannot be reached/);
  fits(stdout);
  expect(stdout).toMatch(/NODES/);
});

test.skipIf(!hasTerminal)('on a terminal top draws again and again until q', async () => {
  const { shown, code } = await onTerminal(['top'], {
    env: steward.clientEnv,
    input: 'q',
    typeAfter: 'OPERATIONS',
  });
  expect(code).toBe(0);
  expect(shown).toContain('\u001b[?1049h');
  // The screen is left as it was.
  expect(shown.trimEnd().endsWith('\u001b[?25h\u001b[?1049l')).toBe(true);
  fits(plain(shown).replaceAll('\r', '\n'));
});

test.skipIf(!hasTerminal)(
  'every list fits a terminal of 80 columns, however long the names are',
  async () => {
    const lists = [
      'database list',
      `database show ${LONG}`,
      'region-group list',
      'node list',
      'node show node-1',
      'operation list --all',
      `operation show ${blocked}`,
      'optimizer-group list',
      'table list',
      'job list',
      'schedule list',
      'heal status',
      'worker list',
      'doctor',
    ];
    for (const line of lists) {
      const { shown } = await onTerminal(line.split(' '), { env: steward.clientEnv });
      const text = plain(shown);
      expect(text.trim(), line).not.toBe('');
      fits(text);
    }
  },
  120_000,
);

test('where no worker has a version the list of builds is empty, and says why; a build is none of them', async () => {
  const [list, asDocument, named, current] = await Promise.all([
    cli('worker list'),
    cli('worker list --json'),
    cli('worker list --deployment nothing'),
    cli('worker make-current 1.0.0'),
  ]);
  expect(list).toMatchObject({ code: 0, stderr: '' });
  expect(list.stdout).toMatch(/^no worker has a version: workers get one with STEWARD_WORKER_DEPLOYMENT/);
  expect(asDocument).toMatchObject({ code: 0, stderr: '' });
  expect(asDocument.document()).toEqual({ builds: [] });
  expect(named.stderr).toMatch(/no worker of a deployment nothing ever asked for work/);
  expect(named.code).toBe(2);
  expect(current.stderr).toMatch(/no worker has a version/);
  expect(current.code).toBe(2);
});

test('bash completes ids: of what a command takes, where it takes it', async () => {
  const { client, clientEnv } = steward;
  await client.optimizerGroups.create({ name: 'bare' });
  await client.tables.create({ name: 'orders', group: 'bare' });
  const { stdout: script } = await cli('completion bash');
  const [group] = await client.regionGroups.list();
  const id = String(group!.groupId);
  const lines: readonly (readonly [words: readonly string[], offered: readonly string[]])[] = [
    [
      ['node', 'show', ''],
      ['node-1', 'node-2', 'node-3'],
    ],
    [['region-group', 'remove', '--actor', 'ann', id, ''], [id]],
    [['region-group', 'forget-replica', id, '--node', 'node-3'], ['node-3']],
    [['region-group', 'list', '--database', ''], [LONG]],
    [['operation', 'cancel', 'region-'], [blocked]],
    [['schedule', 'pause', 'steward/heal'], ['steward/heal-stuck-commits']],
    [['optimizer-group', 'show', ''], ['bare']],
    [['table', 'optimize', ''], ['orders']],
  ];
  await Promise.all(
    lines.map(([words, offered]) =>
      // Only what answers at once is offered.
      eventually(`${words.join(' ')} is completed`, async () => {
        const found = await offeredByBash(script, words, clientEnv);
        return found.join() === offered.join();
      }),
    ),
  );
  const behind = await offeredByBash(script, ['region-group', 'show', id, ''], clientEnv);
  expect(behind).toContain('--json');
  expect(behind).not.toContain(id);
}, 120_000);

test('the commands of docs/operate.md that only read run as they stand', async () => {
  const page = readFileSync(join(projectRoot, 'docs/operate.md'), 'utf8');
  const READS = /^(?:doctor|top --once|\S+ (?:list|status)\b.*|node show .*|completion \w+)$/;
  const lines = [...page.matchAll(/`?npx steward ([^`\n>]+)/g)]
    .map(([, line]) => line!.trim())
    .filter((line) => READS.test(line) && !line.includes('<'));
  const unique = [...new Set(lines)];
  expect(unique.length).toBeGreaterThan(12);
  for (const line of unique) {
    const { code, stderr } = await cli(line);
    expect(stderr, line).toBe('');
    expect(code, line).toBe(0);
  }
}, 120_000);

test('a coordinator that hangs holds up nothing that Temporal answers: what is left out is told, and the rest is shown', async () => {
  await steward.coordinator.kill('SIGSTOP');
  try {
    const commands = Promise.all([
      cli('operation list'),
      cli(`operation show ${blocked} --json`),
      cli('top --once'),
      cli('completion bash --candidates node'),
    ]);
    // What needs it waits for its full time.
    let nodes = 'asked';
    steward.client.nodes.list().then(
      () => {
        nodes = 'answered';
      },
      () => {
        nodes = 'given up';
      },
    );
    const problems: string[] = [];
    const listing = steward.client.operations.list({
      running: true,
      onProblem: (problem) => problems.push(problem),
    });
    const overview = steward.client.overview();
    expect((await listing).map(({ operationId }) => operationId)).toContain(blocked);
    expect(problems).toEqual([
      expect.stringMatching(/^pauses: the coordinator at \S+ did not answer in time/),
    ]);
    expect((await overview).problems).toEqual([
      expect.stringMatching(/^heals, jobs, nodes, optimizers, pauses: the coordinator at \S+ did not answer/),
    ]);
    expect((await overview).operations?.map(({ operationId }) => operationId)).toContain(blocked);
    expect(nodes).toBe('asked');

    const [list, show, top, ids] = await commands;
    expect(list).toMatchObject({ code: 0, stdout: expect.stringContaining(blocked) });
    expect(list.stderr).toMatch(
      /^cannot be shown: pauses: the coordinator at \S+ did not answer in time.*\n$/,
    );
    expect(show.code).toBe(0);
    expect(show.stderr).toMatch(/^cannot be shown: pauses, progress: the coordinator at .*\n$/);
    expect(show.document()).toMatchObject({
      operation: { operationId: blocked, status: 'RUNNING' },
      problems: [expect.stringContaining('pauses, progress: ')],
    });
    expect(ids).toMatchObject({ code: 0, stdout: '', stderr: '' });
    expect(top.code).toBe(0);
    expect(top.stdout).toMatch(new RegExp(`OPERATIONS\\n[\\s\\S]*${blocked}`));
    fits(top.stdout);
  } finally {
    await steward.coordinator.kill('SIGCONT');
    await steward.nodesAlive();
  }
}, 60_000);
