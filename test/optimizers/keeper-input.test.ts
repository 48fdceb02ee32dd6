import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { GroupSettings } from '../../src/client/index.js';
import { eventually } from '../support/eventually.js';
import { type KeeperSteward, startKeeperSteward } from './keeper-steward.js';

/** Every edge says what is wrong, and nothing is half applied (I10). */
let steward: KeeperSteward;

vi.setConfig({ testTimeout: 120_000 });
beforeAll(async () => {
  steward = await startKeeperSteward({ nodes: 1 });
});
afterAll(() => steward?.stop());

describe('the client', () => {
  test.each([
    ['an unknown group', { name: 'never' }, 'NOT_FOUND', 'optimizer group never does not exist'],
    ['a name with a slash', { name: 'a/b' }, 'INVALID_INPUT', 'name'],
  ])('refuses %s, whatever is asked of it', async (_what, { name }, code, message) => {
    const { optimizerGroups: groups } = steward.client;
    for (const asked of [
      () => groups.get(name),
      () => groups.scale(name, { minParallelism: 1 }),
      () => groups.pause(name),
      () => groups.resume(name),
      () => groups.reset(name),
      () => groups.restartNow(name, 'r'),
      () => groups.forgetResource(name, 'r'),
    ]) {
      await expect(asked()).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
    }
  });

  test.each([
    ['negative threads', { minParallelism: -1 }, 'minParallelism'],
    ['half a thread', { threadsPerOptimizer: 0.5 }, 'threadsPerOptimizer'],
    ['no memory', { memoryMbPerOptimizer: 1 }, 'memoryMbPerOptimizer'],
    ['a grace of nothing', { gracePeriodMs: 0 }, 'gracePeriodMs'],
    ['a setting that there is not', { colour: 'red' }, 'colour'],
    ['nothing', {}, 'input'],
  ])('refuses %s before anything is asked', async (_what, junk, field) => {
    const settings = junk as Partial<GroupSettings>;
    const group = await made('bounded');
    const before = (await steward.show(group)).settings;
    await expect(steward.client.optimizerGroups.scale(group, settings)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      details: { field },
    });
    expect((await steward.show(group)).settings).toEqual(before);
    if (field === 'input') return;
    await expect(steward.client.optimizerGroups.create({ name: 'not-made', settings })).rejects.toMatchObject(
      {
        code: 'INVALID_INPUT',
      },
    );
    expect((await steward.client.optimizerGroups.list()).map(({ name }) => name)).not.toContain('not-made');
  });

  test('warns of a grace below the heartbeat time-out, and of a minimum below what runs', async () => {
    const group = await made('warned', 'hollow');
    expect((await steward.client.optimizerGroups.scale(group, { gracePeriodMs: 500 })).warnings).toEqual([
      expect.stringContaining('gracePeriodMs 500 is below heartbeatTimeoutMs 1000'),
    ]);
    expect((await steward.show(group)).warnings).toHaveLength(1);
    await steward.client.optimizerGroups.scale(group, { gracePeriodMs: 1_000, heartbeatTimeoutMs: 1_000 });
    await steward.touch(group, 'warned-1', { threads: 3 });
    const { warnings } = await steward.client.optimizerGroups.scale(group, { minParallelism: 2 });
    expect(warnings).toEqual([expect.stringContaining('3 threads run and minParallelism is 2 now')]);
  });

  test('a second group of one name is refused, and the first stays as it is', async () => {
    const group = await made('twice');
    await expect(
      steward.client.optimizerGroups.create({ name: group, settings: { minParallelism: 9 } }),
    ).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    expect((await steward.show(group)).settings.minParallelism).toBe(0);
  });

  test('an optimizer that lives is neither forgotten nor restarted; an unknown resource is said to be one', async () => {
    const group = await made('living', 'hollow');
    await steward.client.optimizerGroups.scale(group, { heartbeatTimeoutMs: 60_000 });
    await steward.touch(group, 'living-1');
    const { optimizerGroups: groups } = steward.client;
    const alive = { code: 'REJECTED', details: 'OPTIMIZER_ALIVE' };
    await expect(groups.forgetResource(group, 'living-1')).rejects.toMatchObject(alive);
    await expect(groups.restartNow(group, 'living-1')).rejects.toMatchObject(alive);
    await expect(groups.restartNow(group, 'living-2')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await steward.resources(group)).map(({ resourceId }) => resourceId)).toEqual(['living-1']);
  });
});

describe('the workflow', () => {
  test.each([
    ['nothing', undefined, 'input'],
    ['no group', { actor: 'tester' }, 'group'],
    ['an interval of a millisecond', { group: 'g', actor: 'tester', intervalMs: 1 }, 'intervalMs'],
    ['no end of cycles', { group: 'g', actor: 'tester', cyclesPerRun: 0 }, 'cyclesPerRun'],
    ['a field that there is not', { group: 'g', actor: 'tester', colour: 'red' }, 'colour'],
  ])('started with %s fails at once and names the field', async (_what, input, field) => {
    const handle = await steward.temporal.client.workflow.start('keepOptimizerGroup', {
      workflowId: `junk-${field}`,
      taskQueue: 'steward',
      args: input === undefined ? [] : [input],
    });
    await expect(handle.result()).rejects.toMatchObject({
      cause: { type: 'InvalidInput', message: expect.stringContaining(field) },
    });
  });

  test('of a group that there is not fails and says so', async () => {
    const handle = await steward.temporal.client.workflow.start('keepOptimizerGroup', {
      workflowId: 'optimizer-group/nobody',
      taskQueue: 'steward',
      args: [{ group: 'nobody', actor: 'tester' }],
    });
    await expect(handle.result()).rejects.toMatchObject({
      cause: { cause: { message: 'optimizer group nobody does not exist' } },
    });
  });

  test('refuses an Update with junk, and goes on', async () => {
    const group = await made('junked');
    const handle = steward.temporal.client.workflow.getHandle(`optimizer-group/${group}`);
    for (const [update, args] of [
      ['scale', [{ minParallelism: -1 }]],
      ['scale', [undefined]],
      ['pause', [7]],
      ['restartNow', [{}]],
      ['forgetResource', [undefined]],
    ] as const) {
      await expect(handle.executeUpdate(update, { args: [...args] as [unknown] })).rejects.toMatchObject({
        cause: { type: 'InvalidInput' },
      });
    }
    expect((await steward.show(group)).keeper.state).toBe('KEEPING');
  });
});

describe('the command', () => {
  test('makes, shows, scales, pauses and lists a group, as JSON and for people', async () => {
    const settings = ['--min-threads', '0', '--grace', '10s', '--heartbeat-timeout', '20s'];
    const made = await command(
      'optimizer-group',
      'create',
      'cli',
      '--container',
      'hollow',
      '--auto-restart',
      '--memory',
      '256MB',
      ...settings,
      '--json',
    );
    expect(made.stderr).toContain('WARN gracePeriodMs 10000 is below heartbeatTimeoutMs 20000');
    expect(JSON.parse(made.stdout)).toMatchObject({
      group: { name: 'cli', container: 'hollow', settings: { autoRestart: true, memoryMbPerOptimizer: 256 } },
    });
    await steward.client.optimizerGroups.scale('cli', { heartbeatTimeoutMs: 3_600_000 });
    await steward.touch('cli', 'cli-1', { threads: 3 });
    // A keeper that is slow to answer is told as one that does not.
    const shown = await eventually(
      'its keeper is shown',
      async () => {
        const { stdout } = await command('optimizer-group', 'show', 'cli');
        return stdout.includes('keeping') && stdout;
      },
      40_000,
    );
    for (const text of ['3 threads', 'cli-1', 'WARN']) expect(shown).toContain(text);
    const dry = await command('optimizer-group', 'scale', 'cli', '--min-threads', '2', '--dry-run');
    expect(dry.stdout).toContain('minParallelism: 2 (is 0)');
    expect((await steward.show('cli')).settings.minParallelism).toBe(0);
    const scaled = await command(
      'optimizer-group',
      'scale',
      'cli',
      '--min-threads',
      '2',
      '--no-auto-restart',
    );
    expect(scaled.stderr).toContain('WARN 3 threads run and minParallelism is 2 now');
    expect((await steward.show('cli')).settings).toMatchObject({ minParallelism: 2, autoRestart: false });
    await command('optimizer-group', 'pause', 'cli', '--reason', 'moving');
    expect((await steward.show('cli')).keeper).toEqual({ state: 'PAUSED', reason: 'moving (tester)' });
    await command('optimizer-group', 'resume', 'cli');
    await command('optimizer-group', 'reset', 'cli');
    const { groups } = JSON.parse((await command('optimizer-group', 'list', '--json')).stdout);
    expect(groups.map(({ name }: { name: string }) => name)).toContain('cli');
  });

  test.each([
    [['create', 'Loud'], 2, 'name'],
    [['create', 'g', '--optimizers', '2', '--min-threads', '4'], 2, '--optimizers and --min-threads'],
    [['create', 'g', '--memory', '1MB'], 2, 'Expected a size'],
    [['create', 'g', '--threads', '-1'], 2, 'whole number'],
    [['scale', 'never', '--min-threads', '1'], 2, 'does not exist'],
    [['scale', 'cli'], 2, 'nothing to set'],
    [['restart-now', 'never', 'r'], 2, 'does not exist'],
  ])('%j exits with %i', async (args, exitCode, message) => {
    await expect(command('optimizer-group', ...args)).rejects.toMatchObject({
      code: exitCode,
      stderr: expect.stringContaining(message),
    });
  });

  test('that would restart what lives exits with 3', async () => {
    const group = await made('refused', 'hollow');
    await steward.client.optimizerGroups.scale(group, { heartbeatTimeoutMs: 60_000 });
    await steward.touch(group, 'refused-1');
    await expect(command('optimizer-group', 'restart-now', group, 'refused-1')).rejects.toMatchObject({
      code: 3,
    });
  });
});

const run = promisify(execFile);

function command(...args: readonly string[]) {
  return run(process.execPath, ['bin/steward.js', ...args], {
    env: {
      ...process.env,
      ...steward.clientEnv,
      STEWARD_HOME: '/nonexistent/steward',
      STEWARD_ACTOR: 'tester',
      NO_COLOR: '1',
    },
  });
}

/** A group that asks for nothing, whose keeper has been through a cycle. */
async function made(name: string, container = 'local'): Promise<string> {
  const known = (await steward.client.optimizerGroups.list()).some((group) => group.name === name);
  if (!known) await steward.group(name, {}, container);
  await eventually(
    `${name} is kept`,
    async () => (await steward.show(name)).effectiveMinParallelism !== undefined,
  );
  return name;
}
