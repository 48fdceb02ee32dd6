import { setTimeout as pause } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StewardError } from '../../src/client/index.js';
import type { OperationHandle } from '../../src/client/operation-handle.js';
import { PARTITION_SLOTS } from '../../src/rules/bounds.js';
import { eventually } from '../support/eventually.js';
import type { TestProcess } from '../support/processes.js';
import { seededRandom } from '../support/random.js';
import { type FaultInit, type Steward, startSteward } from '../support/steward.js';
import { disagreements, ranTwice } from './agreement.js';

const SEEDS = [101, 302, 355];
const STEPS = 60;
const PAUSE_MAX_MS = 150;
const NODES = ['node-1', 'node-2', 'node-3', 'node-4'];
/** How an operation may end besides well: it was refused, taken over, or missed its quorum. */
const FAIR_ENDS = ['HELD', 'REJECTED', 'NOT_FOUND', 'ALREADY_EXISTS', 'INCOMPLETE', 'SUPERSEDED'];

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({
    schedules: true,
    nodes: NODES.length,
    workerEnv: {
      STEWARD_RPC_DEADLINE_MS: '300',
      STEWARD_CREATION_TIMEOUT_MS: '2500',
      STEWARD_NODE_TIMEOUT_MS: '2000',
    },
  });
  await steward.nodesAlive();
});
afterAll(() => steward.stop());

test.for(SEEDS)(
  'whatever comes in whatever order under faults and kills, catalog and disks agree in the end: seed %i',
  { timeout: 180_000 },
  async (seed, { onTestFailed }) => {
    const mix = new Mix(seed);
    onTestFailed(() => console.error(`seed ${seed}, what was done:\n${mix.done.join('\n')}`));
    await mix.begin();
    for (let step = 1; step <= STEPS; step += 1) await mix.step();
    await mix.comeToRest();
    await steward.clearFaults();
    await steward.nodesAlive();

    expect(await mix.unfairEnds(), `seed ${seed}: how operations ended`).toEqual([]);
    // Nothing leaks and nothing stays missing, so there is nothing to repair: a sweep that observes drives on what was
    // terminated, and that is all.
    await eventually(
      `seed ${seed}: an observing sweep reports nothing, and nobody holds anything`,
      async () => {
        const reported = [...(await sweepReports('observe')), ...(await standing())];
        if (reported.length > 0) throw new Error(reported.join('; '));
        return true;
      },
      60_000,
    );
    expect(await sweepReports('repair'), `seed ${seed}: what a repairing sweep found`).toEqual([]);
    expect(await disagreements(steward), `seed ${seed}: catalog against disks`).toEqual([]);
    expect(await wrongPartitions(), `seed ${seed}: partition tables`).toEqual([]);
    for (const node of NODES) {
      expect(
        steward.effects(node, 'create-region').length,
        `seed ${seed}: regions made on ${node}`,
      ).toBeGreaterThan(0);
      for (const verb of ['create-region', 'delete-region']) {
        expect(ranTwice(steward, node, verb), `seed ${seed}: ${verb} on ${node}`).toEqual([]);
      }
    }
  },
);

/** A random mix of what operators ask, what nodes do wrong, and what dies. */
class Mix {
  readonly done: string[] = [];
  readonly #random: () => number;
  readonly #operations: OperationHandle<unknown>[] = [];
  readonly #asked: Promise<void>[] = [];
  readonly #terminated = new Set<string>();
  readonly #unfair: string[] = [];
  readonly #restarts = new Map<TestProcess, Promise<void>>();
  #databases = 0;

  constructor(private readonly seed: number) {
    this.#random = seededRandom(seed);
  }

  /** Makes something to start from. */
  async begin(): Promise<void> {
    for (let database = 1; database <= 3; database += 1) this.#createDatabase();
    await Promise.all(this.#asked);
    for (let creation = 1; creation <= 4; creation += 1) this.#createRegionGroups();
  }

  /** Does one thing, and does not wait for what it starts. */
  async step(): Promise<void> {
    const weighted: readonly (readonly [number, () => void])[] = [
      [3, () => this.#createDatabase()],
      [8, () => this.#createRegionGroups()],
      [4, () => this.#removeRegionGroups()],
      [2, () => this.#deleteDatabase()],
      [1, () => this.#recreateMissing()],
      [1, () => this.#sweep()],
      [1, () => this.#terminate()],
      [7, () => this.#fault()],
      [1, () => this.#kill(steward.worker)],
      [2, () => this.#kill(this.#pick(steward.nodes))],
    ];
    let at = this.#random() * weighted.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, act] of weighted) {
      at -= weight;
      if (at > 0) continue;
      act();
      break;
    }
    await pause(this.#random() * PAUSE_MAX_MS);
  }

  /** Everything was asked, and every process runs again. */
  async comeToRest(): Promise<void> {
    await Promise.all(this.#asked);
    await Promise.all(this.#restarts.values());
  }

  /** Waits for the ends of all operations; answers those that are none of the fair ones. */
  async unfairEnds(): Promise<string[]> {
    const ends = this.#operations.map((operation) =>
      operation.result({ timeoutMs: 60_000 }).catch((error) => this.#judge(operation.operationId, error)),
    );
    await Promise.all(ends);
    return this.#unfair;
  }

  #createDatabase(): void {
    this.#databases += 1;
    const name = `seed${this.seed}-${this.#databases}`;
    this.#ask(`create database ${name}`, async () => void (await steward.client.databases.create({ name })));
  }

  #createRegionGroups(): void {
    const database = this.#database();
    const groups = this.#upTo(5);
    const replicationFactor = this.#upTo(3);
    this.#begin(`create ${groups} x ${replicationFactor} in ${database}`, () =>
      steward.client.regionGroups.create({ database, kind: 'DATA', groups, replicationFactor }),
    );
  }

  #removeRegionGroups(): void {
    const share = this.#random();
    this.#begin('remove region groups', async () => {
      const all = await steward.client.regionGroups.list();
      const groups = all.map(({ groupId }) => groupId).filter((id) => (id * 0.618) % 1 < share / 2);
      return groups.length > 0 ? steward.client.regionGroups.remove({ groups }) : undefined;
    });
  }

  #deleteDatabase(): void {
    const database = this.#database();
    this.#begin(`delete database ${database}`, () => steward.client.databases.delete(database));
  }

  #recreateMissing(): void {
    this.#begin('recreate missing', async () => {
      const [group] = await steward.client.regionGroups.list({ incomplete: true });
      if (group === undefined) return undefined;
      const { database, groupId } = group;
      return steward.client.regionGroups.recreateMissing({ database, groups: [groupId] });
    });
  }

  #sweep(): void {
    this.#begin('sweep', () => steward.client.sweeps.run({ mode: 'repair', gracePeriodMs: 0 }));
  }

  #terminate(): void {
    const one = this.#operations.at(-this.#upTo(5));
    if (one === undefined) return;
    this.#terminated.add(one.operationId);
    this.#ask(`terminate ${one.operationId}`, async () => {
      const { workflow } = steward.temporal.client;
      await workflow
        .getHandle(one.operationId)
        .terminate('by hand')
        .catch(() => {});
    });
  }

  #fault(): void {
    const node = this.#pick(NODES);
    const fault = this.#randomFault();
    const { target, times, kind } = fault;
    // A node that is down at the moment takes none.
    this.#ask(`${times} x ${target} ${kind?.case} on ${node}`, () =>
      steward.fault(node, fault).catch(() => {}),
    );
  }

  #randomFault(): FaultInit {
    const delay = durationFromMs(this.#upTo(1_000));
    const fail = { message: 'by chance', afterEffect: this.#random() < 0.5 };
    const times = this.#upTo(4);
    const target = this.#pick(['Submit', 'Submit', 'create-region', 'delete-region', 'ListRegions']);
    if (target === 'create-region' || target === 'delete-region') {
      return this.#pick<FaultInit>([
        { target, times, kind: { case: 'delay', value: delay } },
        { target, times, kind: { case: 'fail', value: fail } },
      ]);
    }
    return this.#pick<FaultInit>([
      { target, times, kind: { case: 'dropRequest', value: true } },
      { target, times, kind: { case: 'dropReply', value: true } },
      { target, times, kind: { case: 'duplicate', value: true } },
      { target, times, kind: { case: 'delay', value: delay } },
      { target: 'Submit', times, kind: { case: 'busy', value: delay } },
      { target, times, kind: { case: 'error', value: 'unavailable' } },
    ]);
  }

  #kill(process: TestProcess): void {
    if (this.#restarts.has(process)) return;
    const downMs = this.#random() * 1_000;
    this.done.push(`kill ${process.name}`);
    const restarted = process
      .kill()
      .then(() => pause(downMs))
      .then(() => process.restart())
      .finally(() => this.#restarts.delete(process));
    this.#restarts.set(process, restarted);
  }

  #begin(what: string, start: () => Promise<OperationHandle<unknown> | undefined>): void {
    this.#ask(what, async () => {
      const operation = await start();
      if (operation === undefined) return;
      this.done.push(`began ${operation.operationId}`);
      this.#operations.push(operation);
    });
  }

  #ask(what: string, ask: () => Promise<void>): void {
    this.done.push(what);
    this.#asked.push(ask().catch((error) => this.#judge(what, error)));
  }

  #judge(what: string, error: unknown): void {
    const code = error instanceof StewardError ? error.code : undefined;
    this.done.push(`${what}: ${code}`);
    if (code !== undefined && FAIR_ENDS.includes(code)) return;
    if (code === 'CANCELED' && this.#terminated.has(what)) return;
    this.#unfair.push(`${what}: ${code ?? ''} ${String(error)}`);
  }

  /** One of the last few that were made. */
  #database(): string {
    return `seed${this.seed}-${Math.max(1, this.#databases + 1 - this.#upTo(5))}`;
  }

  #upTo(most: number): number {
    return 1 + Math.floor(this.#random() * most);
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }
}

/** What a sweep without grace finds, or did. */
async function sweepReports(mode: 'observe' | 'repair'): Promise<string[]> {
  const sweep = await steward.client.sweeps.run({ mode, gracePeriodMs: 0 });
  const { nodes, lacking, removed, recreations, drivenOn } = await sweep.result();
  return [
    ...nodes.flatMap(({ nodeId, leaked, missing, unreachable }) => [
      ...leaked.map((id) => `${nodeId}: ${id} leaked`),
      ...missing.map((id) => `${nodeId}: ${id} missing`),
      ...(unreachable === undefined ? [] : [unreachable]),
    ]),
    ...lacking.map((id) => `region group ${id} lacks replicas`),
    ...(removed > 0 ? [`${removed} removed`] : []),
    ...recreations.map((id) => `${id} started`),
    ...drivenOn.map((id) => `${id} driven on`),
  ];
}

/** Workflows that hold something, by the catalog. */
async function standing(): Promise<string[]> {
  const { catalog } = steward;
  const held = await Promise.all(
    (['region_group', 'database'] as const).map((table) =>
      catalog.selectFrom(table).select('holder_id').where('holder_id', 'is not', null).execute(),
    ),
  );
  const ids = held.flat().map(({ holder_id }) => holder_id!);
  const rows = await catalog
    .selectFrom('holder')
    .select('workflow_id')
    .where('holder_id', 'in', [-1, ...ids])
    .execute();
  return rows.map(({ workflow_id }) => `${workflow_id} holds something`);
}

/** Databases that have region groups, and not all of their partition slots on them. */
async function wrongPartitions(): Promise<string[]> {
  const databases = await steward.client.databases.list();
  return databases
    .filter(({ dataRegionGroups, partitionSlots }) =>
      dataRegionGroups > 0 ? partitionSlots !== PARTITION_SLOTS : partitionSlots > 0,
    )
    .map(({ name, partitionSlots }) => `${name}: ${partitionSlots} slots`);
}
