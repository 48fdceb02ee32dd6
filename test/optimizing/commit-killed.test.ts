import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { planTable } from '../../src/catalog/optimizing/planning.js';
import { findTable } from '../../src/catalog/optimizing/tables.js';
import { commitTableId } from '../../src/temporal/commit-table.js';
import { lockWaits } from '../chaos/lock-waits.js';
import { eventually } from '../support/eventually.js';
import { type OptimizingSteward, startOptimizingSteward, upTo } from './optimizing-steward.js';

let steward: OptimizingSteward;
beforeAll(async () => {
  steward = await startOptimizingSteward({ workerEnv: { STEWARD_LOCK_TIMEOUT_MS: '10000' } });
  await steward.optimizer('node-1');
});
afterAll(() => steward?.stop());

test('commitTable killed before it begins, while it waits for the table, in its transaction, and before its result is told: one snapshot, no orphan', async () => {
  const steps = {
    'its metadata written': [
      'data_table',
      (table: string) => `SELECT FROM data_table WHERE name = '${table}' FOR UPDATE`,
    ],
    'in its transaction': [
      'optimizing_process',
      (_: string, process: number) =>
        `SELECT FROM optimizing_process WHERE process_id = ${process} FOR UPDATE`,
    ],
    'its snapshot not recorded yet': ['snapshot', () => 'LOCK TABLE snapshot IN SHARE MODE'],
    'its result not told': ['snapshot', () => 'LOCK TABLE snapshot IN SHARE MODE'],
  } as const;
  for (const [step, [waitsFor, statement]] of Object.entries(steps)) {
    const table = await steward.table(`killed-${Object.keys(steps).indexOf(step)}`, 5);
    // Without a worker commitTable is started, and does not begin.
    await steward.worker.kill();
    const planned = await planTable(steward.catalog, table, {
      actor: 'tester',
      kind: 'FULL',
      targetFileBytes: 1 << 20,
    });
    if (planned.kind !== 'PLANNED') throw new Error(JSON.stringify(planned));
    const { processId } = planned;
    const { table_id, location } = (await findTable(steward.catalog, table))!;
    const commit = steward.temporal.client.workflow.getHandle(
      commitTableId({ tableId: table_id, processId }),
    );
    await eventually(
      'the commit was started',
      async () => (await commit.describe()).status.name === 'RUNNING',
    );

    const lock = await steward.hold(statement(table, processId));
    await steward.worker.restart();
    await eventually(`${step}: it waits for ${waitsFor}`, async () =>
      (await lockWaits(steward)).some(
        ({ program, query }) => program === 'steward-worker' && query.includes(`"${waitsFor}"`),
      ),
    );
    if (step === 'its result not told') {
      const temporal = steward.temporal.process.pid;
      process.kill(temporal, 'SIGSTOP');
      try {
        await lock.release();
        await steward.idle(table);
        await steward.worker.kill();
      } finally {
        process.kill(temporal, 'SIGCONT');
      }
    } else {
      await steward.worker.kill();
      await lock.release();
      expect(await steward.status(table), step).toMatchObject({ status: 'COMMITTING', snapshotId: 5 });
    }
    await steward.worker.restart();
    expect(await commit.result(), step).toEqual({ outcome: 'COMMITTED', snapshotId: 6 });

    const sweep = await steward.temporal.client.workflow.start('sweepTables', {
      workflowId: `sweep-tables/${table}`,
      taskQueue: 'steward',
      args: [{ table, gracePeriodMs: 0 }],
    });
    await sweep.result();
    expect(await steward.status(table)).toMatchObject({ status: 'IDLE', files: 1, rows: 15, snapshotId: 6 });
    expect(await steward.ids(table)).toEqual(upTo(15));
    const snapshots = await steward.catalog
      .selectFrom('snapshot')
      .select('path')
      .where('table_id', '=', table_id)
      .execute();
    const metadata = readdirSync(join(location, 'metadata')).map((name) => `metadata/${name}`);
    // The five newest snapshots and what is younger than an hour are kept; nothing else is left.
    expect(metadata.sort(), step).toEqual(snapshots.map(({ path }) => path).sort());
    expect(readdirSync(join(location, 'data')).filter((name) => name.startsWith('process-'))).toHaveLength(1);
  }
}, 120_000);
