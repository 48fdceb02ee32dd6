import { Client as PgClient } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PARTITION_SLOTS } from '../../src/rules/bounds.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { lockWaits } from './lock-waits.js';

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterAll(() => steward.stop());

test('I8: a creation that was terminated after its last replica and before its closing step: the sweep assigns its partition slots', async () => {
  await steward.client.databases.create({ name: 'unclosed' });
  const blocker = new PgClient({ connectionString: steward.databaseUrl });
  await blocker.connect();
  try {
    await blocker.query('BEGIN');
    await blocker.query('LOCK TABLE partition IN SHARE MODE');
    const creation = await steward.client.regionGroups.create({
      database: 'unclosed',
      kind: 'DATA',
      groups: 2,
      replicationFactor: 3,
    });
    await eventually('the closing step waits', async () =>
      (await lockWaits(steward)).some(({ query }) => query.includes('LEFT JOIN partition')),
    );
    await steward.worker.kill();
    await steward.temporal.client.workflow.getHandle(creation.operationId).terminate('by hand');
  } finally {
    await blocker.end();
  }
  await steward.worker.restart();
  const unclosed = await steward.client.databases.get('unclosed');
  expect(unclosed).toMatchObject({ runningRegionGroups: 2, runningReplicas: 6, partitionSlots: 0 });

  await (await steward.client.sweeps.run({ mode: 'observe' })).result();
  expect((await steward.client.databases.get('unclosed')).partitionSlots).toBe(PARTITION_SLOTS);
  const slots = (await steward.client.regionGroups.list({ database: 'unclosed' })).map(
    ({ partitionSlots }) => partitionSlots,
  );
  expect(slots).toEqual([PARTITION_SLOTS / 2, PARTITION_SLOTS / 2]);
});
