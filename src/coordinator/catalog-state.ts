import { Gauge } from 'prom-client';
import type { Catalog } from '../catalog/catalog.js';
import { type Census, takeCensus } from '../catalog/census.js';
import { registry } from '../metrics/registry.js';
import type { BreakerState } from '../rules/stuck.js';

const BREAKER_STATES: readonly BreakerState[] = ['OPEN', 'ACKNOWLEDGED', 'CLOSED'];

const catalogUp = gauge(
  'steward_catalog_up',
  '1 when the catalog answered for this page; 0: all that it says is absent',
);
const nodes = gauge('steward_nodes', 'Nodes that the catalog knows, by state (alive, silent)', ['state']);
const nodeAlive = gauge('steward_node_alive', '1 while the heartbeats of the node come', ['node']);
const deletions = gauge('steward_open_deletions', 'Deletions of regions that the node has not confirmed', [
  'node',
]);
const creations = gauge('steward_open_creations', 'Creations of regions that the node has not confirmed', [
  'node',
]);
const owedCancels = gauge('steward_owed_cancels', 'Cancels of task groups that the node has not confirmed', [
  'node',
]);
const differences = gauge(
  'steward_region_differences',
  'Regions of which nodes and catalog differ, as the sweeps saw them (leaked, missing)',
  ['kind'],
);
const optimizers = gauge('steward_optimizers', 'Live optimizers, by group', ['group']);
const threads = gauge('steward_optimizer_threads', 'Threads of live optimizers, by group', ['group']);
const orphans = gauge('steward_orphans', 'Resources without a live optimizer, by group', ['group']);
const processes = gauge('steward_optimizing_processes_running', 'Optimizing processes that are RUNNING');
const breaker = gauge(
  'steward_heal_breaker_state',
  '1 for the state of the breaker of the heals (open, acknowledged, closed); open: nothing is healed',
  ['state'],
);
const jobs = gauge('steward_jobs_running', 'Jobs that are not over');
const tombstones = gauge('steward_tombstones', 'Jobs that are over and whose state is still kept');
const overdue = gauge(
  'steward_tombstones_overdue',
  'Tombstones whose delay is over and that nobody has purged',
);

const PLAIN = [processes, jobs, tombstones, overdue];
const LABELLED: readonly Gauge<string>[] = [
  nodes,
  nodeAlive,
  deletions,
  creations,
  owedCancels,
  differences,
  optimizers,
  threads,
  orphans,
  breaker,
];

/** Reads what stands in the catalog for the page that is being made. Readers at the same moment share one reading. */
export class CatalogState {
  #reading: Promise<void> | undefined;

  constructor(
    private readonly catalog: Catalog,
    private readonly nodeTimeoutMs: number,
  ) {}

  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<void> {
    try {
      show(await takeCensus(this.catalog, this.nodeTimeoutMs));
      catalogUp.set(1);
    } catch {
      // What was so a while ago is not told as if it were so now.
      clear();
      catalogUp.set(0);
    }
  }
}

function show(census: Census): void {
  clear();
  for (const state of ['alive', 'silent'] as const) {
    nodes.set({ state }, census.nodes.filter(({ alive }) => alive === (state === 'alive')).length);
  }
  for (const { nodeId: node, alive, creating, removing, owedCancels: owed } of census.nodes) {
    nodeAlive.set({ node }, alive ? 1 : 0);
    creations.set({ node }, creating);
    deletions.set({ node }, removing);
    owedCancels.set({ node }, owed);
  }
  for (const kind of ['LEAKED', 'MISSING'] as const) {
    const found = census.differences.find((one) => one.kind === kind);
    differences.set({ kind: kind.toLowerCase() }, found?.regions ?? 0);
  }
  for (const group of census.groups) {
    optimizers.set({ group: group.name }, group.optimizers);
    threads.set({ group: group.name }, group.threads);
    orphans.set({ group: group.name }, group.orphans);
  }
  processes.set(census.runningProcesses);
  for (const state of BREAKER_STATES) {
    breaker.set({ state: state.toLowerCase() }, census.breaker === state ? 1 : 0);
  }
  jobs.set(census.jobs.running);
  tombstones.set(census.jobs.tombstones);
  overdue.set(census.jobs.overdue);
}

function clear(): void {
  for (const one of LABELLED) one.reset();
  for (const one of PLAIN) one.remove();
}

function gauge<L extends string = never>(
  name: string,
  help: string,
  labelNames: readonly L[] = [],
): Gauge<L> {
  return new Gauge({ name, help, labelNames, registers: [registry] });
}
