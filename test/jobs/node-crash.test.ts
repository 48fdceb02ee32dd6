import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identityOf, isAlive } from '../../src/process-identity.js';
import { startNode } from '../node/node-process.js';
import { ended, FOR_EVER, finish, setFault, statusOf, submit } from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import { seededRandom } from '../support/random.js';
import {
  cancellation,
  children,
  deployment,
  endOf,
  files,
  idsIn,
  locationOf,
  numbers,
  partsOf,
  rate,
  type Site,
  stagedIn,
  startSite,
  stateOf,
  taskGroup,
  writeCsv,
} from './task-groups.js';

let site: Site;
beforeEach(async () => {
  site = await startSite();
  site.coordinator.claim(locationOf(), 1);
});
afterEach(() => site.end());

const ROWS = 3000;
/** A file of `ROWS` rows; one checkpoint, at the end. */
function batch(execution = 1) {
  const path = writeCsv(`${site.directory}/in.csv`, 1, ROWS);
  const restore = site.coordinator.claim(locationOf(), execution);
  return deployment({
    execution,
    directory: site.sink(),
    source: files('csv', path),
    parallelism: 2,
    restore,
  });
}

function endless() {
  return deployment({ directory: site.sink(), intervalMs: 50 });
}

async function published(count: number): Promise<void> {
  await eventually(`${count} published parts`, () => partsOf(site.sink()).length >= count);
}

test('what ran when the node was killed is FAILED, told, and never goes on by itself; what was staged is gone', async () => {
  await finish(site.node, deployment({ directory: site.sink(), source: rate(1, 0, 500) }));
  await eventually('rows', async () => (await taskGroup(site.node)).rowsIn > 100n);
  const before = await taskGroup(site.node);
  expect(stagedIn(site.sink())).not.toEqual([]);
  await site.node.kill();
  await site.node.restart();
  const after = await taskGroup(site.node);
  expect(after).toMatchObject({ state: 3, execution: 1n, error: 'the node stopped while it ran' });
  expect(after.rowsIn).toBeGreaterThanOrEqual(before.rowsIn);
  await eventually('it is told', async () => (await taskGroup(site.node)).acknowledged);
  expect(site.coordinator.notifications.map(({ taskGroup: info }) => stateOf(info!))).toEqual(['FAILED']);
  expect([...stagedIn(site.sink()), ...partsOf(site.sink()), ...site.coordinator.commits]).toEqual([]);
});

test('an orderly stop of the node ends its task groups the same way', async () => {
  await finish(site.node, endless());
  await published(2);
  expect(await site.node.stop()).toBe(0);
  await site.node.restart();
  expect(stateOf(await taskGroup(site.node))).toBe('FAILED');
  const ids = idsIn(site.sink());
  await eventually('nothing is staged', () => stagedIn(site.sink()).length === 0);
  expect(idsIn(site.sink())).toEqual(numbers(1, idsIn(site.sink()).length));
  expect(idsIn(site.sink()).length).toBeGreaterThanOrEqual(ids.length);
});

test('a process that hangs and outlives its node is killed at the next start', async () => {
  await setFault(site.node, { target: 'run-task-group', kind: FOR_EVER });
  await finish(site.node, endless());
  const runner = await eventually('its process hangs', () => {
    const stopped = children(site.node.process.pid).filter((pid) =>
      / [Tt] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')),
    );
    return identityOf(stopped[0] ?? 0);
  });
  await site.node.kill();
  expect(isAlive(runner)).toBe(true);
  await site.node.restart();
  await eventually('it is gone', () => !isAlive(runner));
  expect(stateOf(await taskGroup(site.node))).toBe('FAILED');
});

test('killed when staged and not committed: the checkpoint is committed at the next start, and published', async () => {
  site.coordinator.commitGate = 'swallowed';
  await finish(site.node, batch());
  await eventually('it is staged', () => site.coordinator.commitCalls === 1);
  await site.node.kill();
  expect(partsOf(site.sink())).toEqual([]);
  site.coordinator.commitGate = 'open';
  await site.node.restart();
  expect(stateOf(await taskGroup(site.node))).toBe('FAILED');
  await eventually('it is published', () => idsIn(site.sink()).length === ROWS);
  await eventually('nothing is staged', () => stagedIn(site.sink()).length === 0);
  expect(idsIn(site.sink())).toEqual(numbers(1, ROWS));
  expect((await taskGroup(site.node)).checkpointId).toBe(1n);
});

test('killed when staged and not committed, and fenced meanwhile: thrown away at the next start', async () => {
  site.coordinator.commitGate = 'swallowed';
  await finish(site.node, batch());
  await eventually('it is staged', () => site.coordinator.commitCalls === 1);
  await site.node.kill();
  expect(stagedIn(site.sink())).not.toEqual([]);
  site.coordinator.commitGate = 'open';
  site.coordinator.claim(locationOf(), 2);
  await site.node.restart();
  await eventually('it is thrown away', () => stagedIn(site.sink()).length === 0);
  expect([...partsOf(site.sink()), ...site.coordinator.commits]).toEqual([]);
  await finish(site.node, batch(2));
  expect(await endOf(site.node, 2)).toMatchObject({ state: 2, rowsIn: BigInt(ROWS) });
  expect(idsIn(site.sink())).toEqual(numbers(1, ROWS));
});

test('killed when committed and not published: published at the next start, without another commit', async () => {
  await setFault(site.node, { target: 'publish-checkpoint', kind: FOR_EVER });
  await finish(site.node, batch());
  await eventually('it is committed', () => site.coordinator.commits.length === 1);
  await site.node.kill();
  expect(partsOf(site.sink())).toEqual([]);
  await site.node.restart();
  await eventually('it is published', () => idsIn(site.sink()).length === ROWS);
  expect(idsIn(site.sink())).toEqual(numbers(1, ROWS));
  expect(site.coordinator.commits).toHaveLength(1);
});

test('killed when committed and not published, and restored elsewhere: the next execution publishes first', async () => {
  await setFault(site.node, { target: 'publish-checkpoint', kind: FOR_EVER });
  await finish(site.node, batch());
  await eventually('it is committed', () => site.coordinator.commits.length === 1);
  await site.node.kill();
  const other = await startNode({ id: 'node-2', flags: ['--coordinator', site.coordinator.url] });
  try {
    const restore = site.coordinator.claim(locationOf(), 2);
    const source = files('csv', `${site.directory}/in.csv`);
    const deploy = deployment({ execution: 2, nodeId: 'node-2', directory: site.sink(), source, restore });
    await finish(other, deploy);
    const end = await endOf(other, 2);
    expect(end).toMatchObject({ state: 2, rowsIn: BigInt(ROWS), rowsOut: BigInt(ROWS), checkpointId: 2n });
    expect(idsIn(site.sink())).toEqual(numbers(1, ROWS));
    expect(stagedIn(site.sink())).toEqual([]);
    await site.node.restart();
    await eventually('the old one is told', async () => (await taskGroup(site.node)).acknowledged);
    await eventually('nothing is staged', () => stagedIn(site.sink()).length === 0);
    expect(idsIn(site.sink())).toEqual(numbers(1, ROWS));
  } finally {
    await other.end();
  }
});

test('killed in the middle of a deployment: that succeeded, and what it started is FAILED', async () => {
  await setFault(site.node, { target: 'deploy-task-group', kind: FOR_EVER });
  await submit(site.node, endless());
  await published(1);
  await site.node.kill();
  await site.node.restart();
  expect(await ended(site.node, endless())).toBe('SUCCESS');
  expect(await taskGroup(site.node)).toMatchObject({ state: 3, execution: 1n });
});

test('killed in the middle of a savepoint: the cancellation is interrupted, and a new attempt succeeds', async () => {
  await finish(site.node, endless());
  await published(1);
  site.coordinator.commitGate = 'unavailable';
  await submit(site.node, cancellation({ savepoint: true }));
  const calls = site.coordinator.commitCalls;
  await eventually('a checkpoint is under way', () => site.coordinator.commitCalls > calls);
  await site.node.kill();
  await site.node.restart();
  expect(await ended(site.node, cancellation({ savepoint: true }))).toBe('FAIL(INTERRUPTED)');
  const { error } = await statusOf(site.node, cancellation({ savepoint: true }));
  expect(error?.message).toMatch(/stopped before the savepoint was committed/);
  expect(await finish(site.node, cancellation({ attempt: 2 }))).toEqual(['SUCCESS']);
});

test('a node that was paused is fenced at its next checkpoint: it ends the task group and throws its parts away', async () => {
  await finish(site.node, deployment({ directory: site.sink(), source: rate(1, 0, 2000), intervalMs: 50 }));
  await published(2);
  await site.node.process.kill('SIGSTOP');
  const other = await startNode({ id: 'node-2', flags: ['--coordinator', site.coordinator.url] });
  try {
    const restore = site.coordinator.claim(locationOf(), 2)!;
    const deploy = deployment({
      execution: 2,
      nodeId: 'node-2',
      directory: site.sink(),
      intervalMs: 50,
      restore,
    });
    await finish(other, deploy);
    await eventually('it goes on elsewhere', async () => (await taskGroup(other)).rowsIn > restore.rowsIn);
    await site.node.process.kill('SIGCONT');
    const fenced = await endOf(site.node, 1);
    expect(['CANCELED', 'FAILED']).toContain(stateOf(fenced));
    await eventually('it is acknowledged', async () => (await taskGroup(site.node)).acknowledged);
    const save = cancellation({ execution: 2, savepoint: true });
    const operationId = save.operationId.replace('/node-1@', '/node-2@');
    expect(await finish(other, { ...save, operationId })).toEqual(['SUCCESS']);
    await eventually('nothing is staged', () => stagedIn(site.sink()).length === 0);
    const ids = idsIn(site.sink());
    expect(ids).toEqual(numbers(1, ids.length));
  } finally {
    await other.end();
  }
});

test('a stale answer ends the task group as CANCELED, and nothing of that checkpoint is published', async () => {
  await finish(site.node, endless());
  await published(2);
  site.coordinator.claim(locationOf(), 2);
  const end = await endOf(site.node);
  expect(stateOf(end)).toBe('CANCELED');
  expect(stagedIn(site.sink())).toEqual([]);
  expect(site.coordinator.staleCommits).toHaveLength(1);
  const committed = site.coordinator.commits.flatMap(({ checkpoint }) => checkpoint!.parts);
  expect(partsOf(site.sink())).toEqual(committed.map((part) => part.published).sort());
  expect(Number(end.checkpointId)).toBe(site.coordinator.commits.length);
});

test.each([1, 2, 3])('rows are exact over random kills (seed %i)', { timeout: 120_000 }, async (seed) => {
  const random = seededRandom(seed);
  const total = 4000;
  const source = rate(1, total, 2000);
  let execution = 0;
  for (let kills = 0; kills < 5; kills += 1) {
    execution += 1;
    const restore = site.coordinator.claim(locationOf(), execution);
    const deploy = deployment({
      execution,
      directory: site.sink(),
      source,
      parallelism: 3,
      intervalMs: 30,
      restore,
    });
    expect(await finish(site.node, deploy)).toEqual(['SUCCESS']);
    site.coordinator.commitGate = random() < 0.3 ? 'answer lost' : 'open';
    const calls = site.coordinator.commitCalls + Math.floor(random() * 4);
    await eventually('a moment to kill', () => site.coordinator.commitCalls > calls);
    await new Promise((resolve) => setTimeout(resolve, random() * 40));
    await site.node.kill();
    site.coordinator.commitGate = 'open';
    await site.node.restart();
    if (random() < 0.5) await endOf(site.node, execution);
  }
  execution += 1;
  const restore = site.coordinator.claim(locationOf(), execution);
  await finish(
    site.node,
    deployment({ execution, directory: site.sink(), source, parallelism: 2, intervalMs: 30, restore }),
  );
  const end = await endOf(site.node, execution);
  expect(end).toMatchObject({ error: '', rowsIn: BigInt(total), rowsOut: BigInt(total) });
  expect(idsIn(site.sink())).toEqual(numbers(1, total));
  await eventually('nothing is staged', () => stagedIn(site.sink()).length === 0);
});
