import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { allocateResource } from '../../src/catalog/optimizers/resources.js';
import { commitProcess } from '../../src/catalog/optimizing/committing.js';
import { completeTask } from '../../src/catalog/optimizing/completion.js';
import { createOptimizerGroup } from '../../src/catalog/optimizing/groups.js';
import { ackTask, type HandedOutTask, pollTask } from '../../src/catalog/optimizing/handing-out.js';
import { ingestFile } from '../../src/catalog/optimizing/ingestion.js';
import { type KnownOptimizer, registerOptimizer } from '../../src/catalog/optimizing/optimizers.js';
import { planTable } from '../../src/catalog/optimizing/planning.js';
import { settleProcess } from '../../src/catalog/optimizing/settling.js';
import { createTable, findTable, readCurrentSnapshot } from '../../src/catalog/optimizing/tables.js';
import type { DataFile } from '../../src/catalog/schema.js';
import { literal } from '../../src/warehouse/duckdb.js';
import { makeWhole, PARTIAL } from '../../src/warehouse/whole-files.js';
import { openTestCatalog, startCatalog } from '../support/catalog.js';
import { temporaryDirectory } from '../support/guard.js';

export const GROUP = 'merging';
/** Files of the tests are far smaller than this. */
export const TARGET = 1 << 20;

export type OptimizingRoom = Awaited<ReturnType<typeof optimizingRoom>>;

/** A catalog of its own with an optimizer group, and a warehouse on disk. */
export async function optimizingRoom() {
  const started = await startCatalog();
  const { catalog, url } = started;
  const directory = temporaryDirectory('warehouse');
  const warehouse = join(directory.path, 'warehouse');
  mkdirSync(warehouse, { recursive: true });
  await createOptimizerGroup(catalog, {
    name: GROUP,
    container: 'local',
    properties: {},
    settings: {},
    actor: 'tester',
  });
  const duck = await DuckDBInstance.create(':memory:', { threads: '1' });

  const room = {
    catalog,
    url,
    warehouse,
    directory: directory.path,
    /** A second pool on the same catalog, whose transactions wait this long for a lock. */
    impatient: (lockTimeoutMs: number) => openTestCatalog(url, 4, lockTimeoutMs),

    async table(name = `t-${randomUUID().slice(0, 8)}`): Promise<string> {
      await createTable(catalog, warehouse, { name, group: GROUP, columns: [], actor: 'tester' });
      return name;
    },

    async ingest(table: string, content: string, request: string = randomUUID()) {
      const file = join(directory.path, `${randomUUID()}.csv`);
      writeFileSync(file, content);
      return ingestFile(
        catalog,
        { table, file, format: 'CSV', request, digest: content },
        { targetFileBytes: TARGET },
      );
    },

    /** A table with so many files of three rows each; every row has an id of its own. */
    async filled(files: number): Promise<string> {
      const table = await room.table();
      for (let file = 0; file < files; file += 1) await room.ingest(table, rowsFrom(file * 3));
      return table;
    },

    async resource(resourceId: string = randomUUID()): Promise<string> {
      await allocateResource(
        catalog,
        { resourceId, group: GROUP, threads: 1, memoryMb: 256, actor: 'tester' },
        { onNodes: false, nodeTimeoutMs: 1_000 },
      );
      return resourceId;
    },

    async optimizer(resourceId?: string, launch = 1): Promise<KnownOptimizer> {
      const id = resourceId ?? (await room.resource());
      const touched = await registerOptimizer(catalog, {
        resourceId: id,
        group: GROUP,
        launch,
        threads: 1,
        memoryMb: 256,
        nodeId: undefined,
      });
      if (touched.kind !== 'ALIVE') throw new Error(JSON.stringify(touched));
      return { token: touched.token, resourceId: id, group: GROUP, nodeId: null, releasing: false };
    },

    async plan(table: string): Promise<number> {
      const planned = await planTable(catalog, table, {
        actor: 'tester',
        kind: 'MINOR',
        targetFileBytes: TARGET,
      });
      if (planned.kind !== 'PLANNED') throw new Error(JSON.stringify(planned));
      return planned.processId;
    },

    /** A process with that many tasks, without a file that is really there: for what touches the catalog alone. */
    async planned(table: string, tasks: number): Promise<number> {
      const { table_id } = (await findTable(catalog, table))!;
      return catalog.transaction().execute(async (transaction) => {
        const { process_id } = await transaction
          .insertInto('optimizing_process')
          .values({ table_id, kind: 'MINOR', state: 'RUNNING', base_snapshot: 1, tasks, actor: 'tester' })
          .returning('process_id')
          .executeTakeFirstOrThrow();
        await transaction
          .insertInto('optimizing_task')
          .values(
            Array.from({ length: tasks }, (_, index) => ({
              process_id,
              task_no: index + 1,
              group_name: GROUP,
              state: 'PLANNED' as const,
              turn: index,
              inputs: JSON.stringify([{ path: `data/${process_id}-${index}.parquet`, rows: 3, bytes: 9 }]),
            })),
          )
          .execute();
        await transaction
          .updateTable('data_table')
          .set({ status: 'MINOR_OPTIMIZING' })
          .where('table_id', '=', table_id)
          .execute();
        return process_id;
      });
    },

    async take(optimizer: KnownOptimizer): Promise<HandedOutTask> {
      const task = await pollTask(catalog, optimizer);
      if (task === undefined) throw new Error('there was no task');
      await ackTask(catalog, optimizer, task);
      return task;
    },

    /** Really merges the inputs. */
    async merge(task: HandedOutTask): Promise<DataFile> {
      const inputs = task.inputs.map(({ path }) => literal(join(task.location, path))).join(', ');
      const to = join(task.location, task.output);
      const connection = await duck.connect();
      await connection.run(
        `COPY (SELECT * FROM read_parquet([${inputs}])) TO ${literal(to + PARTIAL)} (FORMAT parquet)`,
      );
      connection.closeSync();
      const bytes = await makeWhole(to + PARTIAL, to);
      return { path: task.output, rows: task.inputs.reduce((sum, { rows }) => sum + rows, 0), bytes };
    },

    async complete(optimizer: KnownOptimizer, task: HandedOutTask, output?: DataFile) {
      const rows = task.inputs.reduce((sum, input) => sum + input.rows, 0);
      return completeTask(catalog, optimizer.resourceId, task, {
        kind: 'MERGED',
        outputs: [output ?? { path: task.output, rows, bytes: 1 }],
      });
    },

    async fail(optimizer: KnownOptimizer, task: HandedOutTask, error = 'disk full') {
      return completeTask(catalog, optimizer.resourceId, task, { kind: 'ERROR', error });
    },

    /** Merges every task of a process, up to COMMITTING. */
    async mergeAll(processId: number): Promise<void> {
      const optimizer = await room.optimizer();
      for (;;) {
        const task = await pollTask(catalog, optimizer);
        if (task === undefined) break;
        await ackTask(catalog, optimizer, task);
        await room.complete(optimizer, task, await room.merge(task));
      }
      const verdict = await settleProcess(catalog, processId);
      if (verdict.kind !== 'COMMITTING') throw new Error(JSON.stringify(verdict));
    },

    commit: (processId: number) => commitProcess(catalog, processId, { targetFileBytes: TARGET }),

    async status(table: string) {
      const row = (await findTable(catalog, table))!;
      const processes = await catalog
        .selectFrom('optimizing_process')
        .select(['process_id', 'state', 'reason', 'committing_since'])
        .where('table_id', '=', row.table_id)
        .orderBy('process_id')
        .execute();
      return { status: row.status, snapshotId: row.snapshot_id, files: row.files, rows: row.rows, processes };
    },

    async tasks(processId: number) {
      return catalog
        .selectFrom('optimizing_task')
        .select(['task_no', 'state', 'attempt', 'failures', 'settled', 'resource_id', 'token', 'last_error'])
        .where('process_id', '=', processId)
        .orderBy('task_no')
        .execute();
    },

    async files(table: string): Promise<readonly DataFile[]> {
      return (await readCurrentSnapshot(catalog, (await findTable(catalog, table))!))?.files ?? [];
    },

    /** The ids in the files of the current snapshot, sorted: read from the disk. */
    async ids(table: string): Promise<number[]> {
      const { location } = (await findTable(catalog, table))!;
      const files = await room.files(table);
      if (files.length === 0) return [];
      const paths = files.map(({ path }) => literal(join(location, path))).join(', ');
      const connection = await duck.connect();
      const result = await connection.runAndReadAll(`SELECT id FROM read_parquet([${paths}]) ORDER BY id`);
      connection.closeSync();
      return result.getRows().map(([id]) => Number(id));
    },

    async location(table: string): Promise<string> {
      return (await findTable(catalog, table))!.location;
    },

    async stop() {
      duck.closeSync();
      await started.stop();
      await directory.remove();
    },
  };
  return room;
}

/** Three rows from this id on. */
export function rowsFrom(id: number): string {
  return `id,name\n${[0, 1, 2].map((offset) => `${id + offset},n${id + offset}`).join('\n')}\n`;
}

export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
