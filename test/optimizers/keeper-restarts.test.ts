import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { findTable, readCurrentSnapshot } from '../../src/catalog/optimizing/tables.js';
import { eventually } from '../support/eventually.js';
import { type KeeperSteward, startKeeperSteward } from './keeper-steward.js';
import { lives } from './optimizer-process.js';
import { query } from './parquet.js';

/** Issue: whatever an optimizer dies of, its group has it back, or gives it up in an orderly way. */
let steward: KeeperSteward;

vi.setConfig({ testTimeout: 90_000 });
beforeAll(async () => {
  steward = await startKeeperSteward();
});
afterAll(() => steward?.stop());

describe('an optimizer that is killed', () => {
  test('is restarted in its place after time-out and grace, keeps its start time, and its task ends', async () => {
    // Wide enough for a process to start on a busy machine; the task holds the dead one's turn meanwhile.
    const group = await steward.group('revived', {
      minParallelism: 1,
      threadsPerOptimizer: 1,
      gracePeriodMs: 10_000,
    });
    const [first] = await steward.live(group, 1);
    await table('orders', group);
    await steward.fault(first!.nodeId!, {
      target: 'merge-files',
      times: 1,
      kind: { case: 'delay', value: { seconds: 60n, nanos: 0 } },
    });
    await (await steward.client.tables.optimize('orders', { kind: 'FULL' })).result();
    await eventually('its task is begun', async () => {
      const { process } = await steward.client.tables.get('orders');
      return process?.tasks.some(({ state }) => state === 'ACKED');
    });
    await steward.killProcess(first!);
    await eventually('it is an orphan with a turn to come', async () => {
      const { orphans } = await steward.show(group);
      return orphans.length === 1 && orphans[0]!.next === 'RESTART' && orphans[0]!.nextTurnAt !== undefined;
    });
    expect(steward.spawned(first!.resourceId)).toEqual([1]);

    const second = await eventually(
      'launch 2 lives',
      async () => {
        const [live] = (await steward.resources(group)).filter(({ optimizer }) => optimizer?.alive);
        // It registers a little before its start is recorded.
        return live?.launch === 2 && live.state === 'STARTED' && live;
      },
      60_000,
    );
    expect(second).toMatchObject({
      resourceId: first!.resourceId,
      state: 'STARTED',
      startTime: first!.startTime,
      nodeId: first!.nodeId,
      threads: 1,
      memoryMb: 128,
      registeredLaunch: 2,
    });
    expect(second.processId).not.toBe(first!.processId);
    expect(lives(second.processId!)).toBe(true);
    expect(steward.spawned(first!.resourceId)).toEqual([1, 2]);
    await eventually(
      'the table is merged',
      async () => {
        const { status, files, rows } = await steward.client.tables.get('orders');
        return status === 'IDLE' && files === 1 && rows === 15;
      },
      40_000,
    );
    expect(await ids('orders')).toEqual(Array.from({ length: 15 }, (_, index) => index));

    // What one query says, every query says.
    const shown = (await steward.show(group)).resources[0]!;
    const { optimizer: _, ...listed } = (await steward.resources(group))[0]!;
    const { optimizer: __, ...same } = shown;
    expect(same).toEqual(listed);
    const row = await steward.catalog
      .selectFrom('optimizer_resource')
      .selectAll()
      .where('resource_id', '=', first!.resourceId)
      .executeTakeFirstOrThrow();
    expect({
      resourceId: row.resource_id,
      state: row.state,
      container: row.container,
      nodeId: row.node_id,
      launch: row.epoch,
      threads: row.threads,
      memoryMb: row.memory_mb,
      properties: row.properties,
      processId: row.process_id,
      startTime: row.start_time.toISOString(),
      registeredLaunch: row.registered_launch,
    }).toEqual(listed);
    expect(row.properties).toEqual({ log: expect.stringContaining(first!.resourceId) });

    await eventually('after one grace of life it has no attempts', async () => {
      const { state } = await steward.temporal.client.workflow
        .getHandle(`optimizer-group/${group}`)
        .query<{ state: { orphans: object } }>('state');
      return Object.keys(state.orphans).length === 0;
    });
  });

  test('that keeps dying is restarted maxRetries times, one grace apart, then its rows are gone and capacity is asked for', async () => {
    const group = await steward.group('dying', { minParallelism: 2, maxRetries: 2 });
    const [first] = await steward.live(group, 1);
    const { resourceId } = first!;
    const reaper = setInterval(() => void reap(group, resourceId), 50);
    try {
      await eventually('its row is gone', async () => !(await has(group, resourceId)), 40_000);
    } finally {
      clearInterval(reaper);
    }
    expect(steward.spawned(resourceId)).toEqual([1, 2, 3]);
    const said = steward.said(group).filter((line) => line['resource'] === resourceId);
    expect(
      said
        .map(({ msg, attempt, attempts }) => [msg, attempt ?? attempts])
        .filter(
          ([msg]) => msg !== 'optimizer is silent: its row is gone' && msg !== 'the container did not do it',
        ),
    ).toEqual([
      ['requesting an optimizer', undefined],
      ['restarting an optimizer', 1],
      ['restarting an optimizer', 2],
      ['giving up an optimizer: releasing its resource', 2],
    ]);
    const turns = said
      .filter(({ msg }) => msg?.startsWith('restarting') || msg?.startsWith('giving up'))
      .map(({ time }) => Number(time));
    expect(turns[1]! - turns[0]!).toBeGreaterThanOrEqual(1_000 - 50);
    expect(turns[2]! - turns[1]!).toBeGreaterThanOrEqual(1_000 - 50);
    const optimizers = await steward.catalog
      .selectFrom('optimizer')
      .selectAll()
      .where('resource_id', '=', resourceId)
      .execute();
    expect(optimizers).toEqual([]);
    const [next] = await steward.live(group, 1);
    expect(next!.resourceId).not.toBe(resourceId);
    expect(await steward.resources(group)).toHaveLength(1);
  });
});

describe('at the last moment', () => {
  test.each([
    ['an optimizer that registers before the clean-up is kept', 'optimizer first'],
    ['an optimizer that registers after the clean-up began is refused', 'clean-up first'],
  ])('%s', async (_what, order) => {
    const name = order.replaceAll(' ', '-').slice(0, 9);
    const group = await steward.group(
      `race-${name}`,
      { minParallelism: 2, maxRetries: 0, maxKeepingAttempts: 1 },
      'hollow',
    );
    const resource = await eventually('it is requested', async () => {
      const [found] = await steward.resources(group);
      return found?.state === 'STARTED' && found;
    });
    const { resourceId } = resource;
    const row = await steward.hold(
      `SELECT 1 FROM optimizer_resource WHERE resource_id = '${resourceId}' FOR UPDATE`,
    );
    let touched: Promise<string>;
    if (order === 'optimizer first') {
      // The keeper has not reached the end of its grace when the optimizer queues for the row.
      touched = steward.touch(group, resourceId, { launch: 1 });
      touched.catch(() => {});
      await steward.waitingForLock('steward-coordinator');
      await steward.waitingForLock('steward-worker');
    } else {
      await steward.waitingForLock('steward-worker');
      touched = steward.touch(group, resourceId, { launch: 1 });
      touched.catch(() => {});
      await steward.waitingForLock('steward-coordinator');
    }
    await row.release();
    if (order === 'optimizer first') {
      const token = await touched;
      const beat = setInterval(() => void steward.touch(group, resourceId, { token }).catch(() => {}), 100);
      try {
        await cyclesLater(group, 3);
        expect(
          (await steward.resources(group)).map((one) => [one.resourceId, one.state, one.launch]),
        ).toEqual([[resourceId, 'STARTED', 1]]);
        expect(steward.calls(group).map(({ call }) => call)).toEqual(['request']);
      } finally {
        clearInterval(beat);
      }
    } else {
      await expect(touched).rejects.toThrow(/is being released|is unknown/);
      await eventually('its row is gone', async () => !(await has(group, resourceId)));
      expect(
        steward
          .calls(group)
          .filter((one) => one.resourceId === resourceId)
          .map(({ call }) => call),
      ).toEqual(['request', 'release']);
    }
    await steward.client.optimizerGroups.pause(group);
  });

  test('an optimizer that registers late, but inside its grace, is never restarted', async () => {
    const group = await steward.group('late', { minParallelism: 2, gracePeriodMs: 3_000 }, 'hollow');
    const [resource] = await eventually('it is requested', async () => {
      const found = await steward.resources(group);
      return found[0]?.state === 'STARTED' && found;
    });
    await eventually('it is an orphan', async () => (await steward.show(group)).orphans[0]?.firstSeenAt);
    const token = await steward.touch(group, resource!.resourceId, { launch: 1 });
    const beat = setInterval(
      () => void steward.touch(group, resource!.resourceId, { token }).catch(() => {}),
      100,
    );
    try {
      const until = Date.now() + 3_500;
      await eventually('its grace would be over', () => Date.now() > until);
      await cyclesLater(group, 2);
      expect(steward.calls(group)).toHaveLength(1);
      expect((await steward.show(group)).orphans).toEqual([]);
    } finally {
      clearInterval(beat);
    }
    await steward.client.optimizerGroups.pause(group);
  });
});

describe('nothing is restarted', () => {
  test('without autoRestart, and it is said; an operator may restart it at once', async () => {
    const group = await steward.group('manual', {
      minParallelism: 1,
      threadsPerOptimizer: 1,
      autoRestart: false,
      gracePeriodMs: 300,
    });
    const [first] = await steward.live(group, 1);
    await steward.client.optimizerGroups.scale(group, { minParallelism: 0 });
    await expect(steward.client.optimizerGroups.restartNow(group, first!.resourceId)).rejects.toMatchObject({
      code: 'REJECTED',
      details: 'OPTIMIZER_ALIVE',
    });
    await steward.killProcess(first!);
    await eventually(
      'it is left to the operator',
      async () => (await steward.show(group)).orphans[0]?.next === 'NOTHING',
    );
    await cyclesLater(group, 6);
    expect(steward.spawned(first!.resourceId)).toEqual([1]);
    await steward.client.optimizerGroups.restartNow(group, first!.resourceId);
    const [second] = await steward.live(group, 1);
    expect([second!.resourceId, second!.launch]).toEqual([first!.resourceId, 2]);
    expect(steward.spawned(first!.resourceId)).toEqual([1, 2]);
    // The launch that the operator saw is gone: the same Update, sent again, restarts nothing.
    await steward.temporal.client.workflow
      .getHandle(`optimizer-group/${group}`)
      .executeUpdate('restartNow', { args: [{ resourceId: first!.resourceId, launch: 1 }] });
    await cyclesLater(group, 3);
    expect(steward.spawned(first!.resourceId)).toEqual([1, 2]);
  });

  test('of a container that opts out, or is unknown: told once, no attempt, never cleaned up, and the others are restarted', async () => {
    const group = await steward.group(
      'mixed',
      { minParallelism: 0, gracePeriodMs: 1_500, maxRetries: 5 },
      'hollow',
    );
    await steward.client.optimizerGroups.pause(group, 'the test makes its resources');
    for (const [resourceId, container] of [
      ['mixed-mine', 'hollow'],
      ['mixed-theirs', 'cluster'],
      ['mixed-external', 'external'],
      ['mixed-unknown', 'gone-for-good'],
    ]) {
      await steward.touch(group, resourceId!);
      await steward.catalog
        .updateTable('optimizer_resource')
        .set({ container: container! })
        .where('resource_id', '=', resourceId!)
        .execute();
    }
    await steward.client.optimizerGroups.resume(group);
    await eventually(
      'mine is restarted twice',
      () => steward.calls(group).filter(({ call }) => call === 'request').length >= 2,
      30_000,
    );
    const told = steward.said(group).filter(({ msg }) => msg?.startsWith('orphan is left'));
    expect(told.map((line) => line['resource'] as string).toSorted((a, b) => a.localeCompare(b))).toEqual([
      'mixed-external',
      'mixed-theirs',
      'mixed-unknown',
    ]);
    const calls = steward.calls(group);
    expect(new Set(calls.map(({ resourceId }) => resourceId))).toEqual(new Set(['mixed-mine']));
    const first = steward.said(group).findIndex(({ msg }) => msg === 'restarting an optimizer');
    const cycleOf = (index: number) => Number(steward.said(group)[index]!['time']);
    const tolds = steward
      .said(group)
      .flatMap(({ msg }, index) => (msg?.startsWith('orphan is left') ? [index] : []));
    for (const index of tolds) expect(Math.abs(cycleOf(index) - cycleOf(first))).toBeLessThan(1_000);
    const { optedOut, orphans } = await steward.show(group);
    expect(optedOut).toEqual([
      { resourceId: 'mixed-external', container: 'external', because: 'OPTS_OUT' },
      { resourceId: 'mixed-theirs', container: 'cluster', because: 'OPTS_OUT' },
      { resourceId: 'mixed-unknown', container: 'gone-for-good', because: 'UNKNOWN' },
    ]);
    expect(orphans.map(({ resourceId }) => resourceId)).toEqual(['mixed-mine']);
    await expect(steward.client.optimizerGroups.restartNow(group, 'mixed-theirs')).rejects.toMatchObject({
      details: 'CONTAINER_OPTS_OUT',
    });
    await steward.client.optimizerGroups.forgetResource(group, 'mixed-unknown');
    await steward.client.optimizerGroups.forgetResource(group, 'mixed-unknown');
    expect(await has(group, 'mixed-unknown')).toBe(false);
    await steward.client.optimizerGroups.pause(group);
  });
});

describe('capacity', () => {
  test('is not requested while an orphan restarts, and is once it is cleaned up', async () => {
    const group = await steward.group('capacity', { minParallelism: 4, maxRetries: 1, gracePeriodMs: 1_500 });
    const [first, other] = await steward.live(group, 2);
    const reaper = setInterval(() => void reap(group, first!.resourceId), 50);
    try {
      await eventually('it is given up', async () => !(await has(group, first!.resourceId)), 40_000);
    } finally {
      clearInterval(reaper);
    }
    const live = await steward.live(group, 2);
    expect(live.map(({ resourceId }) => resourceId)).toContain(other!.resourceId);
    const did = steward
      .said(group)
      .map(({ msg }) => msg!.split(' ')[0])
      .filter((word) => ['requesting', 'restarting', 'giving'].includes(word!));
    expect(did).toEqual(['requesting', 'requesting', 'restarting', 'giving', 'requesting']);
  });

  test('that never comes is given up after maxKeepingAttempts, and wanted again as soon as some comes', async () => {
    const group = await steward.group(
      'hopeless',
      { minParallelism: 2, autoRestart: false, gracePeriodMs: 200, maxKeepingAttempts: 3 },
      'hollow',
    );
    await eventually(
      'the minimum is given up',
      async () => (await steward.show(group)).effectiveMinParallelism === 0,
    );
    await cyclesLater(group, 5);
    expect(requests(group)).toBe(3);
    expect(await steward.show(group)).toMatchObject({ settings: { minParallelism: 2 }, keepingAttempts: 3 });
    const token = await steward.touch(group, 'hopeless-other', { threads: 1 });
    const beat = setInterval(
      () => void steward.touch(group, 'hopeless-other', { token }).catch(() => {}),
      100,
    );
    try {
      await eventually('it applies again', () => requests(group) >= 4);
    } finally {
      clearInterval(beat);
    }
    await steward.client.optimizerGroups.pause(group);
  });

  test('is asked for once per launch of a container that refuses: every call is an attempt', async () => {
    const group = await steward.group(
      'refused',
      { minParallelism: 2, maxRetries: 2, gracePeriodMs: 400, maxKeepingAttempts: 1 },
      'refusing',
    );
    await eventually('it is given up', () => steward.calls(group).some(({ call }) => call === 'release'));
    const [{ resourceId } = { resourceId: '' }] = steward.calls(group);
    const of = steward.calls(group).filter((one) => one.resourceId === resourceId);
    expect(of.map(({ call, launch, attempt }) => [call, launch, attempt])).toEqual([
      ['request', 1, 1],
      ['request', 2, 1],
      ['request', 3, 1],
      ['release', 4, 1],
    ]);
    await steward.client.optimizerGroups.pause(group);
  });

  test('is not requested from a container that starts nothing', async () => {
    const group = await steward.group('elsewhere', { minParallelism: 4, gracePeriodMs: 200 }, 'external');
    await cyclesLater(group, 6);
    expect(await steward.resources(group)).toEqual([]);
    await steward.client.optimizerGroups.pause(group);
  });
});

function requests(group: string): number {
  return steward.calls(group).filter(({ call }) => call === 'request').length;
}

async function has(group: string, resourceId: string): Promise<boolean> {
  return (await steward.resources(group)).some((one) => one.resourceId === resourceId);
}

/** Kills whatever process the resource has. */
async function reap(group: string, resourceId: string): Promise<void> {
  const found = await steward.resources(group).catch(() => []);
  const processId = found.find((one) => one.resourceId === resourceId)?.processId;
  if (processId !== undefined && lives(processId)) process.kill(Number.parseInt(processId, 10), 'SIGKILL');
}

/** Resolves when the keeper has been through so many more cycles. */
async function cyclesLater(group: string, count: number): Promise<void> {
  const cycle = async () => {
    const handle = steward.temporal.client.workflow.getHandle(`optimizer-group/${group}`);
    return (await handle.query<{ state: { cycle: number } }>('state')).state.cycle;
  };
  const from = await cycle();
  await eventually(`${count} more cycles of ${group}`, async () => (await cycle()) >= from + count);
}

async function table(name: string, group: string): Promise<void> {
  await steward.client.tables.create({ name, group });
  for (let file = 0; file < 5; file += 1) {
    const path = join(steward.directory, `${name}-${file}.csv`);
    writeFileSync(path, `id,name\n${[0, 1, 2].map((row) => `${file * 3 + row},n`).join('\n')}\n`);
    await steward.client.tables.ingest(name, path);
  }
}

/** Ids in the files of the current snapshot, sorted. */
async function ids(name: string): Promise<number[]> {
  const row = (await findTable(steward.catalog, name))!;
  const files = (await readCurrentSnapshot(steward.catalog, row))?.files ?? [];
  const paths = files.map(({ path }) => `'${join(row.location, path)}'`).join(', ');
  const rows = await query(`SELECT id FROM read_parquet([${paths}]) ORDER BY id`);
  return rows.map(({ id }) => Number(id));
}
