import { afterEach, expect, test } from 'vitest';
import { onBehalfOf } from '../../src/call-context.js';
import { finish } from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import {
  cancellation,
  deployment,
  endOf,
  files,
  idsIn,
  listed,
  locationOf,
  numbers,
  type Site,
  startSite,
  stateOf,
  taskGroup,
  writeCsv,
} from './task-groups.js';

let site: Site;
afterEach(() => site.end());

async function start(...flags: string[]): Promise<void> {
  site = await startSite({ flags });
  site.coordinator.claim(locationOf(), 1);
}

function short(execution = 1, job = 'job') {
  const path = writeCsv(`${site.directory}/in.csv`, 1, 10);
  return deployment({ job, execution, directory: site.sink(), source: files('csv', path) });
}

test('an end is told until it is acknowledged, over restarts of the node and of the coordinator', async () => {
  await start();
  const { coordinator, node } = site;
  coordinator.notifyGate = 'unavailable';
  await finish(node, short());
  expect(stateOf(await endOf(node))).toBe('FINISHED');
  await eventually('it is told twice', () => coordinator.notifications.length >= 2);
  await node.kill();
  await node.restart();
  const told = coordinator.notifications.length;
  await eventually('it is told again', () => coordinator.notifications.length > told);
  await coordinator.stop();
  expect(await taskGroup(node)).toMatchObject({ state: 2, acknowledged: false });
  coordinator.notifyGate = 'open';
  await coordinator.start();
  const end = await eventually('it is acknowledged', async () => {
    const info = await taskGroup(node);
    return info.acknowledged ? info : undefined;
  });
  expect(end).toMatchObject({ state: 2, rowsIn: 10n, rowsOut: 10n, checkpointId: 1n, execution: 1n });
  const last = coordinator.notifications.at(-1)!;
  expect(last).toMatchObject({ nodeId: node.nodeId, ledgerId: node.ledgerId });
  expect({ ...last.taskGroup, acknowledged: true }).toEqual(end);
  const count = coordinator.notifications.length;
  await node.restart();
  expect(await taskGroup(node)).toMatchObject({ acknowledged: true });
  expect(coordinator.notifications).toHaveLength(count);
});

test('what a task group tells is told on behalf of who deployed it, also from a process that another one used', async () => {
  await start();
  const { coordinator, node } = site;
  for (const job of ['first', 'second']) {
    coordinator.claim(locationOf(job), 1);
    await onBehalfOf({ workflowId: `job/${job}` }, () => finish(node, short(1, job)));
    expect(stateOf(await endOf(node, 1, job))).toBe('FINISHED');
  }
  expect(coordinator.commitCallers).toEqual(['job/first', 'job/second']);
});

test('an acknowledged end is forgotten after the retention; the ledger still answers for its deployment', async () => {
  await start('--task-group-retention-ms', '100');
  await finish(site.node, short());
  await eventually('it is forgotten', async () => {
    return site.coordinator.notifications.length > 0 && (await listed(site.node)).length === 0;
  });
  expect(await finish(site.node, short())).toEqual(['SUCCESS']);
  expect(await listed(site.node)).toEqual([]);
  expect(site.coordinator.commits).toHaveLength(1);
  const { epochs } = await site.node.inventory.listEpochs({ node: site.node.ref });
  expect(epochs.map(({ epoch }) => epoch)).toEqual([1n]);
});

test('an end that nobody acknowledges is kept, until a higher execution supersedes it; a late acknowledgement harms nobody', async () => {
  await start('--task-group-retention-ms', '100');
  const { coordinator, node } = site;
  coordinator.deafTo = 'job';
  await finish(node, short());
  await eventually('it is told', () => coordinator.notifications.length === 1);
  coordinator.claim(locationOf('later'), 1);
  await finish(node, short(1, 'later'));
  await eventually('a later one is told and forgotten', async () => {
    return coordinator.notifications.length > 1 && (await listed(node, 'later')).length === 0;
  });
  expect(await taskGroup(node)).toMatchObject({ state: 2, acknowledged: false });
  coordinator.notifications.splice(1);
  coordinator.claim(locationOf(), 2);
  await finish(node, deployment({ execution: 2, directory: site.sink(), intervalMs: 50 }));
  coordinator.deafTo = undefined;
  await eventually('progress', async () => (await taskGroup(node)).checkpointId > 2n);
  expect(await taskGroup(node)).toMatchObject({ execution: 2n, state: 1, acknowledged: false });
  await finish(node, cancellation({ execution: 2 }));
  await eventually('it is forgotten', async () => (await listed(node)).length === 0);
  expect(
    coordinator.notifications.map(({ taskGroup: info }) => `${info?.execution}:${stateOf(info!)}`),
  ).toEqual(['1:FINISHED', '2:CANCELED']);
});

test('while the coordinator is away the pipeline goes on to its next checkpoint and waits there; then it goes on', async () => {
  await start();
  const { coordinator, node } = site;
  await finish(node, deployment({ directory: site.sink(), intervalMs: 100 }));
  await eventually('two checkpoints', () => coordinator.commits.length >= 2);
  await coordinator.stop();
  const waiting = await eventually('it waits', async () => {
    const info = await taskGroup(node);
    return (info.idle?.nanos ?? 0) > 500_000_000 ? info : undefined;
  });
  expect(stateOf(waiting)).toBe('RUNNING');
  expect((await taskGroup(node)).rowsIn).toBe(waiting.rowsIn);
  await coordinator.start();
  await eventually('it goes on', async () => (await taskGroup(node)).rowsIn > waiting.rowsIn);
  expect(await finish(node, cancellation({ savepoint: true }))).toEqual(['SUCCESS']);
  const { rowsIn } = await endOf(node);
  expect(idsIn(site.sink())).toEqual(numbers(1, Number(rowsIn)));
});

test('a checkpoint whose answer is lost is asked again, and counts once', async () => {
  await start();
  const { coordinator, node } = site;
  coordinator.commitGate = 'answer lost';
  await finish(node, short());
  await eventually('it is recorded', () => coordinator.commits.length === 1);
  coordinator.commitGate = 'open';
  expect(stateOf(await endOf(node))).toBe('FINISHED');
  expect(coordinator.commitCalls).toBeGreaterThan(1);
  expect(coordinator.commits).toHaveLength(1);
  expect(idsIn(site.sink())).toEqual(numbers(1, 10));
});
