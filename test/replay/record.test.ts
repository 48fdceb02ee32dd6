import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { recordHistory } from './recording.js';

/** Writes the histories anew: `RECORD_HISTORIES=1 npx vitest run test/replay/record`. Not part of a normal run. */
describe.skipIf(process.env['RECORD_HISTORIES'] === undefined)('records histories', () => {
  let steward: Steward;
  beforeAll(async () => {
    steward = await startSteward({ workerEnv: { STEWARD_CREATION_TIMEOUT_MS: '3000' } });
    await steward.nodesAlive();
  });
  afterAll(() => steward?.stop());

  test('of every workflow, on its happy path and on its failure paths', async () => {
    const { client } = steward;
    const creation = (database: string, groups = 2) =>
      client.regionGroups.create({ database, kind: 'DATA', groups, replicationFactor: 3 });

    await client.databases.create({ name: 'happy' });
    const created = await creation('happy');
    await created.result();
    await record(created.operationId, 'createRegionGroups.complete');
    const groups = (await client.regionGroups.list({ database: 'happy' })).map(({ groupId }) => groupId);
    const removed = await client.regionGroups.remove({ groups: [groups[0]!] });
    await removed.result();
    await record(removed.operationId, 'removeRegionGroups.removed');
    const deleted = await client.databases.delete('happy');
    await deleted.result();
    await record(deleted.operationId, 'deleteDatabase.deleted');

    await client.databases.create({ name: 'lacking' });
    await steward.fault('node-3', {
      target: 'create-region',
      times: 3,
      kind: { case: 'fail', value: { message: 'full' } },
    });
    const lacking = await creation('lacking', 1);
    await lacking.result();
    await record(lacking.operationId, 'createRegionGroups.incomplete');
    await record(await successor('/recreate'), 'recreateMissingReplicas.complete');

    await client.databases.create({ name: 'failing' });
    for (const node of ['node-1', 'node-2']) {
      await steward.fault(node, {
        target: 'create-region',
        kind: { case: 'fail', value: { message: 'full' } },
      });
    }
    const failing = await creation('failing');
    await failing.result().catch(() => {});
    await record(failing.operationId, 'createRegionGroups.no-quorum');
    await record(await successor('/teardown'), 'removeRegionGroups.teardown');
    await steward.clearFaults();

    await client.databases.create({ name: 'taken' });
    await steward.fault('node-2', {
      target: 'create-region',
      times: 2,
      kind: { case: 'delay', value: durationFromMs(1_500) },
    });
    const taken = await creation('taken');
    await eventually('the claim', async () => ((await taken.describe()).progress?.total ?? 0) > 0);
    await (await client.databases.delete('taken')).result();
    await taken.result().catch(() => {});
    await record(taken.operationId, 'createRegionGroups.superseded');

    await client.databases.create({ name: 'cancelled' });
    for (const node of ['node-2', 'node-3']) {
      await steward.fault(node, {
        target: 'create-region',
        kind: { case: 'delay', value: durationFromMs(60_000) },
      });
    }
    const cancelled = await creation('cancelled');
    await eventually('the claim', async () => ((await cancelled.describe()).progress?.total ?? 0) > 0);
    await client.operations.cancel(cancelled.operationId);
    await cancelled.result().catch(() => {});
    await record(cancelled.operationId, 'createRegionGroups.cancelled');
    await steward.clearFaults();

    const sweep = await client.sweeps.run({ mode: 'repair', gracePeriodMs: 0 });
    await sweep.result();
    await record(sweep.operationId, 'sweepReplicas.repair');
    const drain = await client.sweeps.drainLegacyQueue([
      { id: 1, type: 'DELETE', database: 'lacking', groupId: 12_345, nodeId: 'node-1' },
      { id: 2, type: 'CREATE', database: 'lacking', groupId: 12_345, nodeId: 'node-1' },
      'junk',
    ]);
    await drain.result();
    await record(drain.operationId, 'drainLegacyQueue.drained');
  }, 120_000);

  async function successor(suffix: string): Promise<string> {
    return eventually(`the workflow ${suffix} ended`, async () => {
      const found = (await steward.client.operations.list()).find(
        ({ operationId, closedAt }) => operationId.endsWith(suffix) && closedAt !== undefined,
      );
      return found?.operationId;
    });
  }

  function record(workflowId: string, name: string): Promise<void> {
    return recordHistory(steward.temporalAddress, workflowId, name);
  }
});
