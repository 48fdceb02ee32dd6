import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { recordHistory } from './recording.js';

const SOMEBODY = '00000000-0000-4000-8000-000000000000';

/** Writes the histories anew: `RECORD_HISTORIES=1 npx vitest run test/replay/record`. Not part of a normal run. */
describe.skipIf(process.env['RECORD_HISTORIES'] === undefined)('records histories', () => {
  let steward: Steward;
  beforeAll(async () => {
    steward = await startSteward();
    await steward.nodesAlive();
  });
  afterAll(() => steward?.stop());

  test('of workflows whose input is refused, or whose subject is not there', async () => {
    await ended('deleteDatabase.rejected', { database: 'nowhere' });
    await ended('removeRegionGroups.rejected', { groups: [4_711] });
    await ended('recreateMissingReplicas.rejected', { database: 'nowhere' });
    await ended('createRegionGroups.invalid', { database: 'Not A Name' });
    await ended('drainLegacyQueue.invalid', { entries: 'junk' });
    await ended('planOptimizing.no-such-table', { table: 'nowhere' });
    await ended('sweepTables.nothing-there', {});
    await ended('sweepReplicas.observed', { mode: 'observe', gracePeriodMs: 0 });
    await ended('sweepJobs.nothing-to-do', {});
    await ended('ensureKeepers.nothing-missing', {});
    await ended('healStuckCommits.invalid', { mode: 'sometimes' });
    await ended('keepOptimizerGroup.no-such-group', { group: 'nowhere' });
    await ended('purgeJobState.gone', { jobId: 'nowhere', owner: SOMEBODY, delayMs: 1 });
  }, 120_000);

  test('of claims that the catalog cannot answer at once, and of those that are cancelled meanwhile', async () => {
    await steward.database('slow', 2);
    const locked = await lock(`SELECT FROM database WHERE name = 'slow' FOR UPDATE`);
    const deletion = await steward.client.databases.delete('slow');
    await scheduled(deletion.operationId, 'claimDatabaseDeletion');
    await locked.release();
    await deletion.result();
    await record('deleteDatabase.claimed-late', deletion.operationId);

    await steward.database('kept', 1);
    const again = await lock(`SELECT FROM database WHERE name = 'kept' FOR UPDATE`);
    const cancelled = await steward.client.databases.delete('kept');
    await scheduled(cancelled.operationId, 'claimDatabaseDeletion');
    await cancelAfter(cancelled, again, 'deleteDatabase');

    const [group] = await steward.database('also-kept', 1);
    const third = await lock(`SELECT FROM region_group WHERE group_id = ${group!} FOR UPDATE`);
    const removal = await steward.client.regionGroups.remove({ groups: [group!] });
    await scheduled(removal.operationId, 'claimRemoval');
    await cancelAfter(removal, third, 'removeRegionGroups');
  }, 120_000);

  test('of a claim that the catalog refuses to write, cancelled meanwhile', async () => {
    const [group] = await steward.database('unwritten', 1);
    await sql`ALTER TABLE region_group ADD CONSTRAINT unwritten CHECK (false) NOT VALID`.execute(
      steward.catalog,
    );
    const removal = await steward.client.regionGroups.remove({ groups: [group!] });
    await scheduled(removal.operationId, 'claimRemoval');
    await steward.temporal.client.workflow.getHandle(removal.operationId).cancel();
    await removal.result().catch(() => {});
    await sql`ALTER TABLE region_group DROP CONSTRAINT unwritten`.execute(steward.catalog);
    await record('removeRegionGroups.cancelled', removal.operationId);
  }, 120_000);

  test('of operations that are taken over or cancelled while nodes work on them', async () => {
    const slowDeletions = async () => {
      for (const node of ['node-1', 'node-2', 'node-3']) {
        await steward.fault(node, {
          target: 'delete-region',
          kind: { case: 'delay', value: durationFromMs(600_000) },
        });
      }
    };
    const groups = await steward.database('taken', 2);
    await slowDeletions();
    const removal = await steward.client.regionGroups.remove({ groups: [groups[0]!] });
    await eventually('the claim', async () => ((await removal.describe()).progress?.total ?? 0) > 0);
    const deletion = await steward.client.databases.delete('taken');
    await removal.result().catch(() => {});
    await record('removeRegionGroups.superseded', removal.operationId);
    await steward.clearFaults();
    await deletion.result();

    await steward.client.databases.create({ name: 'lacking' });
    await steward.fault('node-3', {
      target: 'create-region',
      kind: { case: 'fail', value: { message: 'full' } },
    });
    const creation = await steward.client.regionGroups.create({
      database: 'lacking',
      kind: 'DATA',
      groups: 1,
      replicationFactor: 3,
    });
    await creation.result();
    const recreation = await eventually('the recreation runs', async () => {
      const open = await steward.client.operations.list();
      return open.find(({ operationId }) => operationId.endsWith('/recreate'))?.operationId;
    });
    await eventually('it has its claim', async () => {
      const handle = await steward.client.operations.handle(recreation);
      return ((await handle.describe()).progress?.total ?? 0) > 0;
    });
    await steward.temporal.client.workflow.getHandle(recreation).cancel();
    await steward.temporal.client.workflow
      .getHandle(recreation)
      .result()
      .catch(() => {});
    await record('recreateMissingReplicas.cancelled', recreation);
  }, 120_000);

  /** Starts a workflow as `temporal workflow start` would, waits for its end, whatever that is, and records it. */
  async function ended(name: string, input: Readonly<Record<string, unknown>>): Promise<void> {
    const workflowId = `recorded/${name}`;
    const handle = await steward.temporal.client.workflow.start(name.split('.')[0]!, {
      workflowId,
      taskQueue: 'steward',
      args: [{ ...input, actor: 'tester' }],
    });
    await handle.result().catch(() => {});
    await record(name, workflowId);
  }

  /** Resolves when the step has given up to be a local activity. */
  async function scheduled(operationId: string, activity: string): Promise<void> {
    await eventually(`${activity} is an activity of ${operationId}`, async () => {
      return (await steward.events(operationId)).activities.includes(activity);
    });
  }

  /** Whether the cancellation or the claim was first stands in the name of the history. */
  async function cancelAfter(
    operation: { readonly operationId: string; result(): Promise<unknown> },
    held: { release(): Promise<void> },
    type: string,
  ): Promise<void> {
    await steward.temporal.client.workflow.getHandle(operation.operationId).cancel();
    await held.release();
    const done = await operation.result().then(
      () => true,
      () => false,
    );
    await record(`${type}.${done ? 'cancelled-too-late' : 'cancelled'}`, operation.operationId);
  }

  async function lock(statement: string): Promise<{ release(): Promise<void> }> {
    const session = new pg.Client({ connectionString: steward.databaseUrl });
    await session.connect();
    await session.query('BEGIN');
    await session.query(statement);
    return {
      async release() {
        await session.query('ROLLBACK');
        await session.end();
      },
    };
  }

  function record(name: string, workflowId: string): Promise<void> {
    return recordHistory(steward.temporalAddress, workflowId, name);
  }
});
