import { type RawBuilder, sql } from 'kysely';
import type { BreakerState } from '../rules/stuck.js';
import type { Catalog } from './catalog.js';
import { isAlive } from './nodes.js';
import { readBreaker } from './optimizing/breaker.js';
import { optimizerIsAlive } from './optimizing/groups.js';

/** Counts of what stands in the catalog, for those who watch it. */
export interface Census {
  readonly nodes: readonly NodeCount[];
  readonly groups: readonly GroupCount[];
  /** Where nodes and catalog differ, as the sweeps remember it. */
  readonly differences: readonly { readonly kind: 'LEAKED' | 'MISSING'; readonly regions: number }[];
  readonly runningProcesses: number;
  readonly breaker: BreakerState;
  readonly jobs: JobCount;
}

export interface NodeCount {
  readonly nodeId: string;
  readonly alive: boolean;
  readonly creating: number;
  readonly removing: number;
  /** Cancels of task groups that it has not confirmed. */
  readonly owedCancels: number;
}

export interface GroupCount {
  readonly name: string;
  readonly optimizers: number;
  readonly threads: number;
  /** Resources without a live optimizer. */
  readonly orphans: number;
}

export interface JobCount {
  readonly running: number;
  readonly tombstones: number;
  /** Tombstones that should have gone by now. */
  readonly overdue: number;
}

/** Reads it by indexes: its cost follows what is open, away or left over, and never the number of regions or tables. */
export async function takeCensus(catalog: Catalog, nodeTimeoutMs: number): Promise<Census> {
  const queries = censusQueries(nodeTimeoutMs);
  // One after the other, so that whoever watches never takes more than one connection from those who work.
  const { rows: nodes } = await queries.nodes.execute(catalog);
  const { rows: groups } = await queries.groups.execute(catalog);
  const { rows: differences } = await queries.differences.execute(catalog);
  const { rows: processes } = await queries.processes.execute(catalog);
  const { rows: jobs } = await queries.jobs.execute(catalog);
  const { state: breaker } = await readBreaker(catalog);
  return { nodes, groups, differences, runningProcesses: processes[0]!.running, breaker, jobs: jobs[0]! };
}

/** The statements of {@link takeCensus}, so that it can be shown what they read. */
export function censusQueries(nodeTimeoutMs: number) {
  return {
    nodes: sql`
      SELECT node_id AS "nodeId", ${isAlive(nodeTimeoutMs)} AS alive,
        (SELECT count(*) FROM replica r WHERE r.node_id = node.node_id AND r.state = 'CREATING') AS creating,
        (SELECT count(*) FROM replica r WHERE r.node_id = node.node_id AND r.state = 'REMOVING') AS removing,
        (SELECT count(*) FROM owed_cancel o WHERE o.node_id = node.node_id) AS "owedCancels"
      FROM node ORDER BY node_id
    ` as RawBuilder<NodeCount>,
    groups: sql`
      SELECT g.name, count(*) FILTER (WHERE ${optimizerIsAlive()}) AS optimizers,
        coalesce(sum(optimizer.threads) FILTER (WHERE ${optimizerIsAlive()}), 0)::bigint AS threads,
        count(r.resource_id) FILTER (WHERE r.state <> 'RELEASING' AND (${optimizerIsAlive()}) IS NOT TRUE) AS orphans
      FROM optimizer_group g
      LEFT JOIN optimizer_resource r ON r.group_name = g.name
      LEFT JOIN optimizer ON optimizer.resource_id = r.resource_id
      GROUP BY g.name ORDER BY g.name
    ` as RawBuilder<GroupCount>,
    differences: sql`SELECT kind, count(*) AS regions FROM sighting GROUP BY kind` as RawBuilder<
      Census['differences'][number]
    >,
    processes: sql`SELECT count(*) AS running FROM optimizing_process WHERE state = 'RUNNING'` as RawBuilder<{
      readonly running: number;
    }>,
    jobs: sql`
      SELECT (SELECT count(*) FROM job WHERE ended_at IS NULL) AS running,
        (SELECT count(*) FROM job WHERE ended_at IS NOT NULL) AS tombstones,
        (SELECT count(*) FROM job WHERE ended_at IS NOT NULL AND free_at < now()) AS overdue
    ` as RawBuilder<JobCount>,
  };
}
