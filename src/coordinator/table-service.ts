import { createHash, randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { z } from 'zod';
import type { Catalog } from '../catalog/catalog.js';
import { ingestFile } from '../catalog/optimizing/ingestion.js';
import {
  createTable,
  describeTable,
  findTable,
  listTables,
  type ProcessStatus,
  type TableStatusRow,
} from '../catalog/optimizing/tables.js';
import type { Logger } from '../log.js';
import type { Settings } from '../model/settings.js';
import {
  type IngestRequest,
  IngestStart_Format,
  type OptimizingProcessSchema,
  type TableSchema,
  type TableService,
} from '../rpc/gen/steward/coordinator/v1/tables_pb.js';
import {
  ACTOR_NAME,
  COLUMN_NAME,
  COLUMN_TYPE,
  MAX_INGESTED_BYTES,
  MAX_TABLE_COLUMNS,
  OPTIMIZER_GROUP_NAME,
  REQUEST_NAME,
  TABLE_NAME,
} from '../rules/bounds.js';
import { FileRejected } from '../warehouse/conversion.js';
import { removeFile } from '../warehouse/whole-files.js';
import { validated } from './validation.js';

const PAGE = 1_000;
const MAX_CHUNK_BYTES = 1 << 20;
const FORMATS = {
  [IngestStart_Format.CSV]: 'CSV',
  [IngestStart_Format.NDJSON]: 'NDJSON',
  [IngestStart_Format.PARQUET]: 'PARQUET',
} as const;

const tableName = z.string().regex(TABLE_NAME, `a table name matches ${TABLE_NAME.source}`);
const actor = z.string().regex(ACTOR_NAME);
const creation = z.object({
  name: tableName,
  group: z.string().regex(OPTIMIZER_GROUP_NAME),
  columns: z
    .array(
      z.object({
        name: z.string().regex(COLUMN_NAME),
        type: z.string().regex(COLUMN_TYPE, `a type matches ${COLUMN_TYPE.source}`),
      }),
    )
    .max(MAX_TABLE_COLUMNS)
    .refine(
      (columns) => new Set(columns.map(({ name }) => name.toLowerCase())).size === columns.length,
      'a column is there twice',
    ),
  actor,
});
const page = z.object({
  pageSize: z.number().int().min(0).max(PAGE),
  after: z.literal('').or(tableName),
});
const named = z.object({ name: tableName });
const ingestStart = z.object({
  table: tableName,
  fileName: z.string().min(1).max(255),
  format: z.union(
    [
      z.literal(IngestStart_Format.CSV),
      z.literal(IngestStart_Format.NDJSON),
      z.literal(IngestStart_Format.PARQUET),
    ],
    'expected CSV, NDJSON or PARQUET',
  ),
  requestId: z.string().regex(REQUEST_NAME),
  actor,
});

/** Tables: made, filled and shown. */
export function tableService(
  catalog: Catalog,
  settings: Settings,
  log: Logger,
): ServiceImpl<typeof TableService> {
  return {
    async createTable(request) {
      const table = validated(creation, request);
      switch (await createTable(catalog, settings.warehouse, table)) {
        case 'CREATED':
          log.info({ table: table.name, group: table.group, actor: table.actor }, 'table created');
          return {};
        case 'EXISTS':
          throw new ConnectError(`table ${table.name} exists already`, Code.AlreadyExists);
        case 'NO_GROUP':
          throw new ConnectError(
            `optimizer group ${table.group} does not exist: create it with ` +
              `steward optimizer-group create ${table.group}`,
            Code.FailedPrecondition,
          );
      }
    },

    async listTables(request) {
      const { pageSize, after } = validated(page, request);
      const limit = pageSize || PAGE;
      const tables = await listTables(catalog, { after, limit });
      return {
        tables: tables.map(tableMessage),
        nextAfter: tables.length === limit ? tables.at(-1)!.name : '',
      };
    },

    async getTable(request) {
      const { name } = validated(named, request);
      const found = await describeTable(catalog, name);
      if (found === undefined) throw unknownTable(name);
      return {
        table: tableMessage(found.table),
        files: found.files.map(({ path, rows, bytes }) => ({
          path,
          rows: BigInt(rows),
          bytes: BigInt(bytes),
        })),
        ...(found.process && { process: processMessage(found.process) }),
        blockers: [...found.blockers],
      };
    },

    async ingest(messages) {
      const parts = messages[Symbol.asyncIterator]();
      const first = await parts.next();
      if (first.done || first.value.part.case !== 'start') {
        throw new ConnectError('start: the first message must have it', Code.InvalidArgument);
      }
      const start = validated(ingestStart, first.value.part.value);
      if ((await findTable(catalog, start.table)) === undefined) throw unknownTable(start.table);
      const file = join(tmpdir(), `steward-upload-${randomUUID()}`);
      try {
        const digest = await receive({ [Symbol.asyncIterator]: () => parts }, file);
        const verdict = await ingestFile(
          catalog,
          {
            table: start.table,
            file,
            format: FORMATS[start.format],
            request: start.requestId,
            digest,
          },
          settings,
        );
        switch (verdict.kind) {
          case 'INGESTED':
            log.info(
              { table: start.table, file: start.fileName, rows: verdict.rows, actor: start.actor },
              'file ingested',
            );
            return { snapshotId: BigInt(verdict.snapshotId), rows: BigInt(verdict.rows) };
          case 'KNOWN':
            return { snapshotId: BigInt(verdict.snapshotId), known: true };
          case 'OTHER_FILE':
            throw new ConnectError(
              `request_id: ${start.requestId} has ingested another file into ${start.table}`,
              Code.AlreadyExists,
            );
          case 'UNKNOWN_TABLE':
            throw unknownTable(start.table);
        }
      } catch (error) {
        if (!(error instanceof FileRejected)) throw error;
        throw new ConnectError(
          `${start.fileName}: ${error.message}; nothing was ingested`,
          Code.InvalidArgument,
        );
      } finally {
        await removeFile(file);
      }
    },
  };
}

/** Writes the chunks to a file; answers their SHA-256. */
async function receive(chunks: AsyncIterable<IngestRequest>, path: string): Promise<string> {
  const digest = createHash('sha256');
  const file = await open(path, 'wx');
  try {
    let bytes = 0;
    for await (const { part } of chunks) {
      if (part.case !== 'chunk') {
        throw new ConnectError('chunk: expected in every message after the first', Code.InvalidArgument);
      }
      if (part.value.length > MAX_CHUNK_BYTES) {
        throw new ConnectError(`chunk: at most ${MAX_CHUNK_BYTES} bytes`, Code.InvalidArgument);
      }
      bytes += part.value.length;
      if (bytes > MAX_INGESTED_BYTES) {
        throw new ConnectError(`the file has more than ${MAX_INGESTED_BYTES} bytes`, Code.InvalidArgument);
      }
      digest.update(part.value);
      await file.writeFile(part.value);
    }
  } finally {
    await file.close();
  }
  return digest.digest('hex');
}

function unknownTable(name: string): ConnectError {
  return new ConnectError(`table ${name} does not exist`, Code.NotFound);
}

function tableMessage(table: TableStatusRow): MessageInitShape<typeof TableSchema> {
  return {
    ...table,
    tableId: BigInt(table.tableId),
    columns: table.columns.map(({ name, type }) => ({ name, type })),
    statusSince: timestampFromDate(table.statusSince),
    snapshotId: BigInt(table.snapshotId),
    rows: BigInt(table.rows),
    bytes: BigInt(table.bytes),
    createdAt: timestampFromDate(table.createdAt),
  };
}

function processMessage(process: ProcessStatus): MessageInitShape<typeof OptimizingProcessSchema> {
  const { kind, state, actor, committingSince, endedAt } = process;
  return {
    processId: BigInt(process.processId),
    kind,
    state,
    baseSnapshot: BigInt(process.baseSnapshot),
    actor,
    ...(committingSince && { committingSince: timestampFromDate(committingSince) }),
    reason: process.reason ?? '',
    startedAt: timestampFromDate(process.startedAt),
    ...(endedAt && { endedAt: timestampFromDate(endedAt) }),
    tasks: process.tasks.map(({ resourceId, nodeId, lastError, stateSince, ...task }) => ({
      ...task,
      resourceId: resourceId ?? '',
      nodeId: nodeId ?? '',
      lastError: lastError ?? '',
      stateSince: timestampFromDate(stateSince),
    })),
  };
}
