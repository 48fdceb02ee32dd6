import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { settleProcess } from '../../src/catalog/optimizing/settling.js';
import { findTable } from '../../src/catalog/optimizing/tables.js';
import { commitTableId } from '../../src/temporal/commit-table.js';
import { type OptimizingSteward, startOptimizingSteward } from '../optimizing/optimizing-steward.js';
import { eventually } from '../support/eventually.js';
import { recordHistory } from './recording.js';

/** Writes the histories anew: `RECORD_HISTORIES=1 npx vitest run test/replay/record`. Not part of a normal run. */
describe.skipIf(process.env['RECORD_HISTORIES'] === undefined)('records histories', () => {
  let steward: OptimizingSteward;
  beforeAll(async () => {
    steward = await startOptimizingSteward();
  });
  afterAll(() => steward?.stop());

  test('of the workflows of optimizing', async () => {
    const { client } = steward;
    await steward.optimizer('node-1', { 'merge-delay-ms': '500' });
    const table = await steward.table('orders', 4);

    const planning = await client.tables.optimize(table);
    const { planned } = await planning.result();
    await record(planning.operationId, 'planOptimizing.planned');
    const process = planned[0]!.processId;
    await steward.idle(table);
    const { table_id } = (await findTable(steward.catalog, table))!;
    await record(commitTableId({ tableId: table_id, processId: process }), 'commitTable.committed');

    await steward.ingest(table, 12);
    const stuck = await steward.optimize(table);
    const lock = await steward.hold(`SELECT FROM data_table WHERE name = '${table}' FOR UPDATE`);
    await eventually('T2 has failed', () =>
      steward.warnings(steward.coordinator).some(({ msg }) => msg === 'settling failed'),
    );
    const failing = await client.heals.run({ graces: { settleGraceMs: 0 } });
    expect((await failing.result()).failed).toHaveLength(1);
    await record(failing.operationId, 'healStuckCommits.failing');
    await lock.release();
    const healing = await client.heals.run({ graces: { settleGraceMs: 0 } });
    expect((await healing.result()).healed).toHaveLength(1);
    await record(healing.operationId, 'healStuckCommits.healed');
    await steward.idle(table);

    await steward.ingest(table, 15);
    const closed = await steward.optimize(table);
    const held = await steward.hold(`SELECT FROM data_table WHERE name = '${table}' FOR UPDATE`);
    await eventually('it is merged', async () => (await steward.tasks(closed))[0]!.state === 'SUCCESS');
    await steward.coordinator.kill();
    await held.release();
    const { outputs } = await steward.catalog
      .selectFrom('optimizing_task')
      .select('outputs')
      .where('process_id', '=', closed)
      .executeTakeFirstOrThrow();
    rmSync(join((await findTable(steward.catalog, table))!.location, outputs![0]!.path));
    await settleProcess(steward.catalog, closed);
    await (await client.heals.run({ graces: { commitGraceMs: 0 } })).result();
    await steward.idle(table);
    await record(commitTableId({ tableId: table_id, processId: closed }), 'commitTable.closed');
    expect(stuck).toBeLessThan(closed);

    const handle = await steward.temporal.client.workflow.start('sweepTables', {
      workflowId: 'sweep-tables/recorded',
      taskQueue: 'steward',
      args: [{ gracePeriodMs: 0, actor: 'tester' }],
    });
    await handle.result();
    await record(handle.workflowId, 'sweepTables.swept');
  }, 120_000);

  function record(workflowId: string, name: string): Promise<void> {
    return recordHistory(steward.temporalAddress, workflowId, name);
  }
});
