import type { StewardClient } from '../../client/index.js';
import { counted } from '../../rules/counted.js';
import { type Part, type Tour, until } from './part.js';
import { fillTable, optimized, tableTour } from './tables.js';

const TABLE = 'late';
/** Too few to be planned by schedule. */
const FILES = 3;
const SLOW_BY_MS = 30_000;
const WITHIN_MS = 60_000;
/** Whatever has been so at all counts as stuck. */
const AT_ONCE = { ackTimeoutMs: 0, settleGraceMs: 0, resultGraceMs: 0, commitGraceMs: 0 };

/**
 * Tables that are optimized, and a process that gets stuck before its commit as it does in the field: another session holds
 * the row of its table when the optimizer is done, so nobody counts the result. The heal finds and commits it.
 *
 * @param breaks false: only shows what is there
 */
export async function healTour(tour: Tour, breaks: boolean): Promise<Part> {
  const { client } = tour;
  const happened = [await tableTour(tour)];
  if (breaks) happened.push(...(await healStuck(tour)));
  const { breaker, last } = await client.heals.status();
  const state =
    last === undefined
      ? 'no cycle has ended yet'
      : `last cycle at ${last.endedAt}: ${last.result.total} stuck, ${last.result.healed.length} healed; breaker ${breaker.state}`;
  return {
    title: 'OPTIMIZING AND HEAL',
    happened,
    state,
    look: [`steward table show ${TABLE}`, 'steward heal status'],
  };
}

async function healStuck({ client, stack, say }: Tour): Promise<string[]> {
  await fillTable(client, TABLE, FILES, say);
  const nodes = (await client.nodes.list()).map(({ nodeId }) => nodeId);
  const faults = await Promise.all(nodes.map((nodeId) => client.nodes.faults(nodeId)));
  // So that the row is locked before the merge ends.
  for (const one of faults)
    await one.set({ target: 'merge-files', kind: 'DELAY', delayMs: SLOW_BY_MS, times: 0 });
  try {
    await (await client.tables.optimize(TABLE, { kind: 'FULL' })).result();
    say(`keeping the row of table ${TABLE} locked until its process is stuck`);
    const lock = await lockRow(stack.addresses.databaseUrl);
    try {
      for (const one of faults) await one.clear();
      await until(`the merge of table ${TABLE} is done`, () => isMerged(client), WITHIN_MS);
      await until('the commit waits for the lock', lock.isWaitedFor, WITHIN_MS);
      await until('the commit gives up', async () => !(await lock.isWaitedFor()), WITHIN_MS);
    } finally {
      await lock.release();
    }
  } finally {
    for (const one of faults) await one.clear();
  }
  const stuck = (await client.tables.get(TABLE)).process!;
  say(`healing process ${stuck.processId} of table ${TABLE}`);
  const { healed } = await (await client.heals.run({ table: TABLE, graces: AT_ONCE })).result();
  const shape = healed.find(({ processId }) => processId === stuck.processId)?.shape;
  const table = await optimized(client, TABLE);
  return [
    `table ${TABLE}: another session held its row when the merge was done: process ${stuck.processId} was stuck before its commit`,
    `${shape === undefined ? 'the scheduled heal' : `a heal found it (shape ${shape}) and`} had it committed: ` +
      `${counted(FILES, 'file')} before, ${table.files} after; ${table.rows} rows before and after`,
  ];
}

async function isMerged(client: StewardClient): Promise<boolean> {
  const { process } = await client.tables.get(TABLE);
  return process?.tasks.every(({ state }) => state === 'SUCCESS') ?? false;
}

interface RowLock {
  /** Whether another session waits for it. */
  readonly isWaitedFor: () => Promise<boolean>;
  readonly release: () => Promise<void>;
}

async function lockRow(databaseUrl: string): Promise<RowLock> {
  const { default: pg } = await import('pg');
  const session = new pg.Client({ connectionString: databaseUrl, application_name: 'steward-tour' });
  await session.connect();
  await session.query('BEGIN');
  await session.query('SELECT FROM data_table WHERE name = $1 FOR UPDATE', [TABLE]);
  return {
    async isWaitedFor() {
      const { rowCount } = await session.query(
        'SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))',
      );
      return (rowCount ?? 0) > 0;
    },
    async release() {
      await session.query('ROLLBACK');
      await session.end();
    },
  };
}
