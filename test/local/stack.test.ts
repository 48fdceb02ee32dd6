import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { controlStack } from '../../src/local/control.js';
import { readStack, type Stack } from '../../src/local/stack-file.js';
import type { LocalStatus } from '../../src/local/status.js';
import { listenForStop } from '../../src/local/stop-signals.js';
import { identityOf, isAlive, type ProcessIdentity } from '../../src/process-identity.js';
import { eventually } from '../support/eventually.js';
import { killWithUs, temporaryDirectory } from '../support/guard.js';
import { freePort } from '../support/ports.js';

// Real supervisors and real children, each a process of its own; what they are made of is in stand-in-plan.mjs.
const CLI = fileURLToPath(new URL('stand-in-cli.mjs', import.meta.url));

let directory: ReturnType<typeof temporaryDirectory>;
let home: string;
let recorded: ProcessIdentity[];
let cleanUps: (() => unknown)[];

beforeEach(() => {
  directory = temporaryDirectory('stack');
  home = join(directory.path, 'home');
  recorded = [];
  cleanUps = [];
});
afterEach(async () => {
  remember();
  await command('stop');
  for (const cleanUp of cleanUps) await cleanUp();
  // Of everything that ever was recorded.
  await eventually('nothing is left', () => recorded.every((identity) => !isAlive(identity)));
  await directory.remove();
});

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

type Arguments = Record<string, readonly string[]>;

/** Runs the stand-in's command line to its end. */
async function command(
  name: string,
  ports: Record<string, number> = {},
  standIn: Arguments = {},
): Promise<Outcome> {
  try {
    const done = await promisify(execFile)(process.execPath, [CLI, home, name, JSON.stringify(ports)], {
      env: { ...process.env, STAND_IN: JSON.stringify(standIn) },
    });
    return { code: 0, ...done };
  } catch (error) {
    return error as Outcome;
  } finally {
    remember();
  }
}

/** Starts in the foreground; resolves when the command has shown that the stack runs. */
async function foreground(
  standIn: Arguments = {},
): Promise<{ child: ChildProcess; stderr: () => string; ended: Promise<number | null> }> {
  const child = spawn(process.execPath, [CLI, home, 'start'], {
    env: { ...process.env, STAND_IN: JSON.stringify(standIn) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  await Promise.race([
    new Promise((resolve) => child.stdout.once('data', resolve)),
    ended.then((code) => Promise.reject(new Error(`the command ended with code ${code}: ${stderr}`))),
  ]);
  remember();
  return { child, stderr: () => stderr, ended };
}

async function status(): Promise<LocalStatus> {
  return JSON.parse((await command('status')).stdout) as LocalStatus;
}

/** Every process that the stack's file names, so that the end of each can be checked. */
function remember(): void {
  const stack = existsSync(join(home, 'run', 'stack.json')) ? tryRead() : undefined;
  for (const identity of [stack?.supervisor, ...(stack?.processes ?? []).map((one) => one.identity)]) {
    if (identity === undefined || recorded.some(({ pid }) => pid === identity.pid)) continue;
    recorded.push(identity);
    killWithUs(identity);
  }
}

function tryRead(): Stack | undefined {
  try {
    return readStack(home);
  } catch {
    return undefined;
  }
}

function stack(): Stack {
  const found = readStack(home);
  if (found === undefined) throw new Error(`no stack in ${home}`);
  return found;
}

const identity = (name: string) => stack().processes.find((one) => one.name === name)?.identity;

async function occupy(port: number): Promise<void> {
  const server = await new Promise<Server>((resolve) => {
    const listening = createServer().listen(port, '127.0.0.1', () => resolve(listening));
  });
  cleanUps.push(() => new Promise((resolve) => server.close(resolve)));
}

const journal = () => readFileSync(join(home, 'journal'), 'utf8').trim().split('\n');

test('Ctrl-C stops everything in order and leaves nothing but the data', async () => {
  const { child, stderr, ended } = await foreground();
  expect(await status()).toMatchObject({ state: 'running', supervisorPid: child.pid });
  expect(statSync(join(home, 'run', 'stack.json')).mode & 0o777).toBe(0o600);
  child.kill('SIGINT');
  expect(await ended).toBe(0);
  expect(journal().slice(3)).toEqual(['worker ended', 'coordinator ended', 'temporal ended']);
  expect(stderr()).toContain('stopping worker\nstopping coordinator\nstopping temporal\nstopped');
  expect(recorded).toHaveLength(4);
  expect(recorded.filter(isAlive)).toEqual([]);
  expect(await status()).toMatchObject({ state: 'stopped', processes: [] });
});

test('two signals that come together are one', () => {
  const signals = listenForStop();
  process.emit('SIGHUP', 'SIGHUP');
  process.emit('SIGHUP', 'SIGHUP');
  signals.dispose();
  expect([signals.stop.aborted, signals.hasten.aborted]).toEqual([true, false]);
});

test('a Ctrl-C that npm doubles is one, and a second one hastens', async () => {
  const { child, ended } = await foreground({ worker: ['--deaf'] });
  child.kill('SIGINT');
  child.kill('SIGINT');
  await eventually('the worker was asked to end', () => journal().includes('worker heard'));
  expect(child.exitCode).toBeNull();
  // One, and late enough not to be npm's: another one might come when the signals are the system's again.
  await sleep(400);
  expect(child.exitCode).toBeNull();
  child.kill('SIGINT');
  expect(await ended).toBe(0);
  expect(recorded.filter(isAlive)).toEqual([]);
});

test('a terminal that is gone does not keep the stack from stopping in order', async () => {
  const { child, ended } = await foreground();
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.kill('SIGHUP');
  expect(await ended).toBe(0);
  expect(journal().slice(3)).toEqual(['worker ended', 'coordinator ended', 'temporal ended']);
});

test('a detached stack runs on, is started only once, and is stopped by a command', async () => {
  const started = await command('detach');
  expect(started.code).toBe(0);
  expect(JSON.parse(started.stdout)).toMatchObject({ state: 'running' });
  const before = readFileSync(join(home, 'run', 'stack.json'), 'utf8');
  for (const how of ['start', 'detach']) {
    const second = await command(how);
    expect(second.code, second.stderr).toBe(3);
    expect(second.stderr).toMatch(/running already \(supervisor pid \d+\); Web UI http.*Nothing was changed/);
  }
  expect(readFileSync(join(home, 'run', 'stack.json'), 'utf8')).toBe(before);
  expect(JSON.parse((await command('stop')).stdout)).toEqual({ outcome: 'stopped' });
  expect(recorded.filter(isAlive)).toEqual([]);
  expect(JSON.parse((await command('stop')).stdout)).toEqual({ outcome: 'not-running' });
});

test('of two starts at the same moment one wins', async () => {
  const outcomes = await Promise.all([command('detach'), command('detach')]);
  expect(new Set(outcomes.map(({ code }) => code))).toEqual(new Set([0, 3]));
});

test('a stack that starts only by half is stopped again, with one message that names the log', async () => {
  for (const how of ['start', 'detach']) {
    const failed = await command(how, {}, { worker: ['--broken'] });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain(
      `worker ended with code 7 before it was ready; its log is ${join(home, 'logs', 'worker.log')}`,
    );
    expect(failed.stderr).toContain('| cannot find my purpose');
    expect(journal()).toContain('coordinator ended');
    expect(existsSync(join(home, 'run', 'stack.json'))).toBe(false);
    rmSync(join(home, 'journal'));
  }
});

test('a start that is interrupted stops what it has started', async () => {
  const starting = spawn(process.execPath, [CLI, home, 'detach'], {
    env: { ...process.env, STAND_IN: JSON.stringify({ worker: ['--mute'] }) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise((resolve) => starting.once('exit', resolve));
  await eventually('the worker was started', () => identity('worker'));
  remember();
  starting.kill('SIGINT');
  expect(await ended).toBe(1);
  expect(recorded).toHaveLength(4);
  await eventually('nothing is left', () => recorded.every((one) => !isAlive(one)));
});

test('a supervisor that was killed is noticed; the next start ends what it left and goes on', async () => {
  await command('detach');
  const former = stack();
  process.kill(former.supervisor.pid, 'SIGKILL');
  const worker = identity('worker');
  await eventually('our own children end by themselves', () => worker && !isAlive(worker));
  const crashed = await status();
  expect(crashed.state).toBe('crashed');
  expect(crashed.processes.find(({ name }) => name === 'temporal')?.state).toBe('left-over');

  const again = await command('detach');
  expect(again.code).toBe(0);
  expect(again.stderr).toContain('is gone without a stop');
  expect(again.stderr).toContain('stopping temporal');
  expect(stack().ports).toEqual(former.ports);
  expect(recorded.filter(isAlive)).toHaveLength(4);
});

test('a stop ends what a killed supervisor left', async () => {
  await command('detach');
  process.kill(stack().supervisor.pid, 'SIGKILL');
  expect(JSON.parse((await command('stop')).stdout)).toEqual({ outcome: 'cleaned-up' });
  expect(recorded.filter(isAlive)).toEqual([]);
  expect((await status()).state).toBe('stopped');
});

test('a recorded pid that belongs to another process by now is not touched', async () => {
  await command('detach');
  const former = stack();
  await command('stop');
  const bystander = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  cleanUps.push(() => bystander.kill('SIGKILL'));
  const { pid } = bystander;
  if (pid === undefined) throw new Error('no bystander');
  const reused = { pid, startedAt: 'before' };
  writeFileSync(
    join(home, 'run', 'stack.json'),
    JSON.stringify({
      ...former,
      supervisor: reused,
      processes: former.processes.map((one) => ({ ...one, identity: reused })),
    }),
  );
  expect((await status()).state).toBe('crashed');
  expect((await command('detach')).code).toBe(0);
  expect((await command('stop')).code).toBe(0);
  expect(identityOf(pid)).toBeDefined();
});

test('a state file that cannot be read holds up nothing', async () => {
  mkdirSync(join(home, 'run'), { recursive: true });
  writeFileSync(join(home, 'run', 'stack.json'), '{"version":');
  expect(await command('detach')).toMatchObject({ code: 0 });
});

test('a port that was asked for and is in use is refused before anything is started', async () => {
  const port = await freePort();
  await occupy(port);
  for (const how of ['start', 'detach']) {
    const refused = await command(how, { temporal: port });
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain(`port ${port} of 127.0.0.1, asked for with --temporal-port, is in use`);
  }
  expect(existsSync(join(home, 'journal'))).toBe(false);
});

test('ports are remembered; one that is taken by now is replaced, and said', async () => {
  const asked = await freePort();
  await command('detach', { coordinator: asked });
  const { ports } = stack();
  expect(ports['coordinator']).toBe(asked);
  await command('stop');
  await occupy(asked);
  const again = await command('detach');
  expect(again.stderr).toContain(
    `port ${asked}, which coordinator used before, is in use by another program: using`,
  );
  expect(stack().ports['temporal']).toBe(ports['temporal']);
  expect(stack().ports['coordinator']).not.toBe(asked);
});

test('a process of a running stack is killed, brought back, paused and resumed by command', async () => {
  await command('detach');
  const first = identity('worker');
  await controlStack({ action: 'kill', process: 'worker' }, home);
  expect(stack().processes[0]).toMatchObject({ name: 'worker', state: 'stopped' });
  expect(first && isAlive(first)).toBe(false);
  await controlStack({ action: 'restart', process: 'worker' }, home);
  expect(stack().processes[0]).toMatchObject({ state: 'running' });
  await controlStack({ action: 'pause', process: 'worker' }, home);
  expect(stack().processes[0]).toMatchObject({ state: 'paused' });
  await controlStack({ action: 'resume', process: 'worker' }, home);
  expect(stack().processes[0]).toMatchObject({ state: 'running' });
  await expect(controlStack({ action: 'pause', process: 'nobody' }, home)).rejects.toMatchObject({
    code: 'UNKNOWN_PROCESS',
    message: 'the stack has no process nobody; it has temporal, coordinator, worker',
  });
  await command('stop');
  await expect(controlStack({ action: 'pause', process: 'worker' }, home)).rejects.toMatchObject({
    code: 'NOT_RUNNING',
  });
});

test('works in a directory so deep that no socket path fits into it', async () => {
  home = join(directory.path, 'deep'.repeat(20), 'deeper'.repeat(20));
  await command('detach');
  const { control } = stack();
  expect(control.length).toBeLessThan(100);
  await controlStack({ action: 'kill', process: 'worker', restartAfterMs: 0 }, home);
  await eventually('the worker is back', () => stack().processes[0]?.state === 'running');
  await command('stop');
  expect(existsSync(join(control, '..'))).toBe(false);
});
