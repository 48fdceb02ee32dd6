import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ingestFile } from '../../src/catalog/optimizing/ingestion.js';
import { createTable, findTable, readCurrentSnapshot } from '../../src/catalog/optimizing/tables.js';
import type { OperationHandle } from '../../src/client/index.js';
import { disagreements, ranTwice } from '../chaos/agreement.js';
import { idsIn, numbers } from '../jobs/task-groups.js';
import { linesOf } from '../optimizers/optimizer-process.js';
import { query } from '../optimizers/parquet.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import type { Steward } from '../support/steward.js';

const GROUP = 'kept';
const TARGET_FILE_BYTES = 1 << 20;
const FILES = 4;
const ROWS_PER_FILE = 3;
/** Ends a while after the restarts that it is meant to meet. */
const JOB_ROWS = 1_500;
const PATIENCE_MS = 240_000;

/** Processes are restarted and slow: nobody counts as lost only because of that. */
export const PATIENT = {
  STEWARD_RPC_DEADLINE_MS: '3000',
  STEWARD_NODE_TIMEOUT_MS: '60000',
  STEWARD_TARGET_FILE_BYTES: String(TARGET_FILE_BYTES),
};

/**
 * Work of all five systems on one Steward: region groups are created and removed, tables optimized by optimizers that a
 * keeper keeps, what is stuck is healed, jobs run. Begun in rounds; what came of all rounds is judged once, at the end.
 */
export class FiveSystems {
  readonly #ends: { readonly what: string; readonly ended: Promise<unknown>; readonly expected: object }[] =
    [];
  readonly #jobs: { readonly directory: string; readonly jobId: string }[] = [];
  readonly #tables: { readonly name: string; readonly processId: number }[] = [];
  #removable: readonly number[] = [];

  constructor(
    private readonly steward: Steward,
    private readonly room: string,
  ) {}

  /** Resolves when the keeper's optimizer lives. */
  async prepare(): Promise<void> {
    await this.steward.nodesAlive();
    // Tables are optimized when a round says so.
    await this.steward.client.schedules.pause('steward/plan-optimizing');
    await this.steward.client.optimizerGroups.create({
      name: GROUP,
      intervalMs: 500,
      settings: {
        autoRestart: true,
        minParallelism: 1,
        threadsPerOptimizer: 1,
        memoryMbPerOptimizer: 128,
        maxRetries: 100,
        gracePeriodMs: 3_000,
        heartbeatTimeoutMs: 5_000,
      },
    });
    this.#removable = await this.steward.database('before', 3, 2);
    await this.optimizer();
  }

  /** Begins one operation of each kind, and returns while they run. */
  async begin(round: string): Promise<{ readonly removal: string; readonly job: string }> {
    const { client } = this.steward;
    await client.databases.create({ name: `made-${round}` });
    const creation = await client.regionGroups.create({
      database: `made-${round}`,
      kind: 'DATA',
      groups: 3,
      replicationFactor: 2,
    });
    this.#expect(`creation ${round}`, creation, { outcome: 'RUNNING', complete: 3 });
    const removal = await client.regionGroups.remove({ groups: this.#removable });
    this.#expect(`removal ${round}`, removal, { outcome: 'REMOVED', groups: 3, replicas: 6 });
    this.#removable = await eventually('the new region groups are known', async () => {
      const made = await client.regionGroups.list({ database: `made-${round}` });
      return made.length === 3 && made.map(({ groupId }) => groupId);
    });

    await this.#optimize(`table-${round}`);
    const healing = await client.heals.run({ graces: { ackTimeoutMs: 20_000, resultGraceMs: 20_000 } });
    this.#expect(`heal ${round}`, healing, { mode: 'repair' });

    const directory = join(this.room, `sink-${round}`);
    const jobId = `job-${round}`;
    const job = rateJob(
      directory,
      { rows: JOB_ROWS, rowsPerSecond: 40, taskGroups: 2 },
      { checkpointIntervalMs: 500, progressTimeoutMs: 120_000, retryTimes: 100 },
    );
    const running = await client.jobs.submit({ jobId, job });
    this.#expect(jobId, running, { outcome: 'FINISHED', rowsOut: JOB_ROWS });
    this.#jobs.push({ directory, jobId });
    return { removal: removal.operationId, job: running.operationId };
  }

  /** Resolves when the keeper has its one optimizer, and that lives. */
  async optimizer(): Promise<void> {
    await eventually(
      'the keeper has one optimizer',
      async () => {
        const { resources } = await this.steward.client.optimizerGroups.get(GROUP);
        return resources.length === 1 && resources[0]!.optimizer?.alive === true;
      },
      PATIENCE_MS,
    );
  }

  /** Ends the optimizer as whoever operates its machine would; its keeper launches it again. */
  async restartOptimizer(): Promise<void> {
    await this.optimizer();
    const { resourceId, nodeId, launch } = await this.#resource();
    const log = join(
      this.steward.nodeDirectory(nodeId!),
      'resources',
      this.steward.catalogId,
      resourceId,
      'optimizer.log',
    );
    const { pid } = linesOf(log).findLast(({ ready }) => ready === true)!;
    process.kill(Number(pid), 'SIGTERM');
    await eventually(
      'the keeper has launched it again',
      async () => (await this.#resource()).launch > launch,
      PATIENCE_MS,
    );
    await this.optimizer();
  }

  /** Waits until everything has ended, and compares it with what was asked for: nothing failed, nothing was done twice. */
  async judge(): Promise<void> {
    for (const { what, ended, expected } of this.#ends) expect(await ended, what).toMatchObject(expected);
    for (const { directory, jobId } of this.#jobs)
      expect(idsIn(directory), jobId).toEqual(numbers(0, JOB_ROWS));
    for (const table of this.#tables) await this.#judgeTable(table);
    await eventually(
      'catalog and disks agree',
      async () => (await disagreements(this.steward)).length === 0,
      20_000,
    ).catch(() => {});
    expect(await disagreements(this.steward)).toEqual([]);
    for (const { name } of this.steward.nodes) {
      for (const verb of ['create-region', 'delete-region', 'deploy-task-group', 'request-resource'])
        expect(ranTwice(this.steward, name, verb), `${verb} on ${name}`).toEqual([]);
    }
    await this.optimizer();
    const { client } = this.steward.temporal;
    for (const status of ['Failed', 'TimedOut', 'Terminated', 'Canceled'])
      expect((await client.workflow.count(`ExecutionStatus = '${status}'`)).count, status).toBe(0);
  }

  async #resource() {
    const { resources } = await this.steward.client.optimizerGroups.get(GROUP);
    return resources[0]!;
  }

  async #optimize(name: string): Promise<void> {
    const { catalog, directory, client } = this.steward;
    await createTable(catalog, join(directory, 'warehouse'), {
      name,
      group: GROUP,
      columns: [],
      actor: 'tester',
    });
    for (let file = 0; file < FILES; file += 1) {
      const path = join(this.room, `${name}-${file}.csv`);
      const content = `id,name\n${numbers(file * ROWS_PER_FILE, ROWS_PER_FILE)
        .map((id) => `${id},n`)
        .join('\n')}\n`;
      writeFileSync(path, content);
      const ingestion = {
        table: name,
        file: path,
        format: 'CSV',
        request: `from-${file}`,
        digest: content,
      } as const;
      await ingestFile(catalog, ingestion, { targetFileBytes: TARGET_FILE_BYTES });
    }
    const planning = await client.tables.optimize(name, { kind: 'FULL' });
    const { planned } = await planning.result();
    expect(planned).toHaveLength(1);
    this.#tables.push({ name, processId: planned[0]!.processId });
  }

  /** One process, committed once, and every row still there once. */
  async #judgeTable({
    name,
    processId,
  }: {
    readonly name: string;
    readonly processId: number;
  }): Promise<void> {
    const { catalog } = this.steward;
    await eventually(
      `${name} is optimized`,
      async () => (await findTable(catalog, name))!.status === 'IDLE',
      PATIENCE_MS,
    );
    const table = (await findTable(catalog, name))!;
    const processes = await catalog
      .selectFrom('optimizing_process')
      .select(['process_id', 'state'])
      .where('table_id', '=', table.table_id)
      .execute();
    expect(processes, name).toEqual([{ process_id: processId, state: 'SUCCESS' }]);
    expect({ snapshots: table.snapshot_id, files: table.files }, name).toEqual({
      snapshots: FILES + 1,
      files: 1,
    });
    const [file] = (await readCurrentSnapshot(catalog, table))!.files;
    const rows = await query(
      `SELECT id FROM read_parquet('${join(table.location, file!.path)}') ORDER BY id`,
    );
    expect(
      rows.map(({ id }) => Number(id)),
      name,
    ).toEqual(numbers(0, FILES * ROWS_PER_FILE));
  }

  #expect(what: string, handle: OperationHandle<unknown>, expected: object): void {
    const ended = handle.result().catch((error: unknown) => ({ outcome: 'FAILED', error: String(error) }));
    this.#ends.push({ what, ended, expected });
  }
}
