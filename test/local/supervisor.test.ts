import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startProcess } from '../../src/local/child-process.js';
import type { StackProcess } from '../../src/local/stack-file.js';
import { backOffMs, type Service, Supervisor } from '../../src/local/supervisor.js';
import { isAlive, type ProcessIdentity } from '../../src/process-identity.js';
import { eventually } from '../support/eventually.js';
import { killWithUs, temporaryDirectory } from '../support/guard.js';

const never = new AbortController().signal;
const STAND_IN = fileURLToPath(new URL('stand-in.mjs', import.meta.url));

let directory: ReturnType<typeof temporaryDirectory>;
let supervisor: Supervisor;
let lines: string[];
let seen: ProcessIdentity[];
let journal: () => string[];

beforeEach(() => {
  directory = temporaryDirectory('supervisor');
  lines = [];
  seen = [];
  journal = () => readFileSync(join(directory.path, 'journal'), 'utf8').trim().split('\n');
});
afterEach(async () => {
  await supervisor.stop(AbortSignal.abort());
  expect(seen.filter(isAlive)).toEqual([]);
  await directory.remove();
});

function supervise(...services: Service[]): Supervisor {
  const onChange = (processes: StackProcess[]) => {
    for (const { identity } of processes) {
      if (identity === undefined || seen.some(({ pid }) => pid === identity.pid)) continue;
      seen.push(identity);
      killWithUs(identity);
    }
  };
  supervisor = new Supervisor({ services, onChange, print: (line) => void lines.push(line) });
  return supervisor;
}

interface Stages {
  start?: number;
  stop?: number;
}

function service(name: string, args: readonly string[] = [], { start = 1, stop = 1 }: Stages = {}): Service {
  const log = join(directory.path, `${name}.log`);
  return {
    name,
    log,
    stopSignal: 'SIGTERM',
    startStage: start,
    stopStage: stop,
    start: (launch) =>
      startProcess(
        {
          name,
          command: process.execPath,
          args: [
            STAND_IN,
            `--name=${name}`,
            `--journal=${join(directory.path, 'journal')}`,
            '--exit-with-parent',
            ...args,
          ],
          logFile: log,
          ready: { by: 'line' },
          readyTimeoutMs: args.includes('--mute') ? 1_000 : 20_000,
          stopSignal: 'SIGTERM',
          stopTimeoutMs: 1_000,
        },
        launch,
      ),
  };
}

const find = (name: string) => {
  const found = supervisor.snapshot().find((process) => process.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
};
const running = (name: string, except?: number) =>
  eventually(`${name} runs`, () => {
    const { state, identity } = find(name);
    return state === 'running' && identity?.pid !== except && identity?.pid;
  });

test('starts stage after stage and stops in an order of its own', async () => {
  supervise(
    service('database', [], { start: 1, stop: 3 }),
    service('server', [], { start: 2, stop: 2 }),
    service('client', [], { start: 3, stop: 1 }),
  );
  await supervisor.start(never);
  expect(supervisor.snapshot().map(({ name, state }) => `${name} ${state}`)).toEqual([
    'client running',
    'server running',
    'database running',
  ]);
  await supervisor.stop(never);
  expect(journal()).toEqual([
    'database started',
    'server started',
    'client started',
    'client ended',
    'server ended',
    'database ended',
  ]);
  expect(lines).toEqual([
    'starting database',
    'starting server',
    'starting client',
    'stopping client',
    'stopping server',
    'stopping database',
  ]);
});

test('starts again what dies, says so, and counts it', async () => {
  supervise(service('node'));
  await supervisor.start(never);
  let pid = await running('node');
  for (const restarts of [1, 2]) {
    process.kill(pid, 'SIGKILL');
    pid = await running('node', pid);
    expect(find('node').restarts).toBe(restarts);
  }
  expect(lines[1]).toMatch(/^node \(pid \d+\) was killed by SIGKILL; starting it again; its log is/);
  expect(lines[2]).toContain('starting it again in 0.25 s');
});

test('waits longer for every death in a row, from nothing up to 10 s', () => {
  expect([1, 2, 3, 4, 5, 6, 7, 8, 50].map(backOffMs)).toEqual([
    0, 250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000,
  ]);
});

test('a process that ends before it serves fails the start, with its log and last lines', async () => {
  supervise(service('good'), service('bad', ['--broken'], { start: 2 }));
  const failure = (await supervisor.start(never).catch((error: unknown) => error)) as Error;
  expect(failure.message).toContain('bad ended with code 7 before it was ready');
  expect(failure.message).toContain(join(directory.path, 'bad.log'));
  expect(failure.message).toContain('| cannot find my purpose');
});

test('a process that does not serve in time fails the start, and is gone', async () => {
  supervise(service('mute', ['--mute']));
  await expect(supervisor.start(never)).rejects.toThrow('mute was not ready after 1 s');
  expect(seen.filter(isAlive)).toEqual([]);
});

test('a process that was killed on purpose stays down until somebody starts it', async () => {
  supervise(service('node'), service('other'));
  await supervisor.start(never);
  const pid = await running('node');
  await supervisor.kill('node');
  expect(find('node')).toMatchObject({ state: 'stopped', restarts: 0 });
  expect(find('node').identity).toBeUndefined();
  // Others are looked after as before.
  const other = await running('other');
  process.kill(other, 'SIGKILL');
  await running('other', other);
  expect(find('node').state).toBe('stopped');
  await supervisor.restart('node');
  expect(await running('node')).not.toBe(pid);
});

test('a process that was killed for a while comes back by itself', async () => {
  supervise(service('node'));
  await supervisor.start(never);
  const pid = await running('node');
  await supervisor.kill('node', 50);
  expect(await running('node', pid)).not.toBe(pid);
});

test('a restart ends a process in order first', async () => {
  supervise(service('node'));
  await supervisor.start(never);
  const pid = await running('node');
  await supervisor.restart('node');
  expect(find('node')).toMatchObject({ state: 'running', restarts: 0 });
  expect(find('node').identity?.pid).not.toBe(pid);
  expect(journal()).toEqual(['node started', 'node ended', 'node started']);
});

test('a paused process neither ends nor answers, and goes on when resumed', async () => {
  supervise(service('node'));
  await supervisor.start(never);
  const pid = await running('node');
  const state = () => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0];
  supervisor.pause('node');
  expect(find('node').state).toBe('paused');
  await eventually('it is stopped', () => state() === 'T');
  supervisor.resume('node');
  await eventually('it goes on', () => state() !== 'T');
  expect(await running('node')).toBe(pid);
});

test('a paused process can be stopped in order', async () => {
  supervise(service('node'));
  await supervisor.start(never);
  supervisor.pause('node');
  await supervisor.stop(never);
  expect(journal()).toEqual(['node started', 'node ended']);
});

test('what does not end when asked is killed, and said', async () => {
  supervise(service('node', ['--deaf']));
  await supervisor.start(never);
  await supervisor.stop(never);
  expect(journal()).toEqual(['node started', 'node heard']);
  expect(lines.at(-1)).toMatch(/^node \(pid \d+\) did not end when asked, and was killed$/);
});

test('a start can be given up in the middle', async () => {
  supervise(service('good'), service('slow', ['--mute'], { start: 2 }));
  const giveUp = new AbortController();
  const starting = supervisor.start(giveUp.signal);
  await eventually('slow was started', () => find('slow').identity);
  giveUp.abort(new Error('enough'));
  await expect(starting).rejects.toThrow('enough');
  await supervisor.stop(never);
  expect(seen).toHaveLength(2);
  expect(seen.filter(isAlive)).toEqual([]);
});

test('a name that is not there is refused, with those that are', async () => {
  supervise(service('node'));
  await supervisor.start(never);
  await expect(supervisor.kill('nod')).rejects.toThrow('the stack has no process nod; it has node');
});
