import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Planning } from '../../activities/optimizing/optimizing.js';
import {
  type IngestRequestSchema,
  IngestStart_Format,
  type OptimizingProcess as ProcessMessage,
  type Table as TableMessage,
} from '../rpc/gen/steward/coordinator/v1/tables_pb.js';
import { OPTIMIZER_GROUP_NAME, REQUEST_NAME, TABLE_NAME } from '../rules/bounds.js';
import { text } from '../rules/input.js';
import { planOptimizingInput } from '../rules/optimizing-input.js';
import type { ProcessState, TableStatus, TaskState } from '../rules/optimizing-states.js';
import type { OptimizingKind } from '../rules/words.js';
import type { Coordinator } from './coordinator.js';
import { StewardError } from './errors.js';
import { isoOf } from './messages.js';
import type { OperationHandle } from './operation-handle.js';
import type { Operations } from './operations.js';
import type { Temporal } from './temporal.js';
import { valid } from './validation.js';

/** A table of Parquet files, as lists show it. */
export interface Table {
  readonly tableId: number;
  readonly name: string;
  /** Optimizer group that optimizes it. */
  readonly group: string;
  /** Absolute path of its directory. */
  readonly location: string;
  /** Empty until the first file was ingested, unless they were given. */
  readonly columns: readonly Column[];
  readonly status: TableStatus;
  readonly statusSince: string;
  /** 0: nothing was ingested yet. */
  readonly snapshotId: number;
  readonly files: number;
  readonly smallFiles: number;
  readonly undersizedFiles: number;
  readonly rows: number;
  readonly bytes: number;
  readonly createdBy: string;
  readonly createdAt: string;
}

export interface Column {
  readonly name: string;
  /** As DuckDB names it, for example BIGINT, DOUBLE, VARCHAR, TIMESTAMP. */
  readonly type: string;
}

/** A table in full. */
export interface TableDescription extends Table {
  /** Files of the current snapshot; paths are relative to the location. */
  readonly dataFiles: readonly { readonly path: string; readonly rows: number; readonly bytes: number }[];
  /** The newest one. */
  readonly process?: OptimizingProcess;
  /** What stands in the way of optimizing, each in one line. */
  readonly blockers: readonly string[];
}

export interface OptimizingProcess {
  readonly processId: number;
  readonly kind: OptimizingKind;
  readonly state: ProcessState;
  readonly baseSnapshot: number;
  readonly actor: string;
  readonly startedAt: string;
  readonly committingSince?: string;
  readonly endedAt?: string;
  /** Why it is FAILED or CLOSED. */
  readonly reason?: string;
  readonly tasks: readonly OptimizingTask[];
}

export interface OptimizingTask {
  readonly taskNo: number;
  readonly state: TaskState;
  readonly attempt: number;
  readonly failures: number;
  readonly inputFiles: number;
  readonly stateSince: string;
  /** Who has it, or had it last. */
  readonly resourceId?: string;
  readonly nodeId?: string;
  readonly lastError?: string;
}

export const FILE_FORMATS = ['CSV', 'NDJSON', 'PARQUET'] as const;
export type FileFormat = (typeof FILE_FORMATS)[number];

export interface TableCreation {
  readonly name: string;
  /** `default` when absent. */
  readonly group?: string | undefined;
  /** Absent: the first file that is ingested has them. */
  readonly columns?: readonly Column[] | undefined;
}

export interface IngestOptions {
  /** Absent: by the file's name (.csv, .ndjson, .jsonl, .json, .parquet). */
  readonly format?: FileFormat | undefined;
  /** Names this ingestion within the table: asked again, the file is there once. A new name when absent. */
  readonly request?: string | undefined;
}

export interface Ingested {
  /** The snapshot that has the file first. */
  readonly snapshotId: number;
  /** 0 when it was ingested by an earlier call. */
  readonly rows: number;
  /** An earlier call with this request name ingested it. */
  readonly known: boolean;
}

export const DEFAULT_GROUP = 'default';
const CHUNK_BYTES = 256 * 1024;
const INGEST_DEADLINE_MS = 10 * 60_000;

/** `client.tables` */
export class Tables {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly temporal: () => Promise<Temporal>,
    private readonly operations: Operations,
    private readonly actor: string,
  ) {}

  /** @throws StewardError INVALID_INPUT; ALREADY_EXISTS; REJECTED when there is no such optimizer group */
  async create({ name, group = DEFAULT_GROUP, columns = [] }: TableCreation): Promise<Table> {
    const request = {
      name: tableName(name),
      group: valid(() => text({ group }, 'group', OPTIMIZER_GROUP_NAME)),
      columns: columns.map(({ name: column, type }) => ({ name: column, type })),
      actor: this.actor,
    };
    await this.coordinator.askTables((tables) => tables.createTable(request));
    return this.get(name);
  }

  /** All tables, in the order of names. */
  async list(): Promise<Table[]> {
    const found: Table[] = [];
    for (let after = ''; ; ) {
      const page = await this.coordinator.askTables((tables) => tables.listTables({ after }));
      found.push(...page.tables.map(tableFrom));
      if (page.nextAfter === '') return found;
      after = page.nextAfter;
    }
  }

  /** @throws StewardError INVALID_INPUT, NOT_FOUND */
  async get(name: string): Promise<TableDescription> {
    const request = { name: tableName(name) };
    const { table, files, process, blockers } = await this.coordinator.askTables((tables) =>
      tables.getTable(request),
    );
    return {
      ...tableFrom(table!),
      dataFiles: files.map(({ path, rows, bytes }) => ({ path, rows: Number(rows), bytes: Number(bytes) })),
      ...(process && { process: processFrom(process) }),
      blockers,
    };
  }

  /**
   * Adds one file to a table, whole or not at all.
   *
   * @throws StewardError INVALID_INPUT (the file cannot be read, is malformed, with its line, or does not fit the table's
   * columns); NOT_FOUND; ALREADY_EXISTS when the request name ingested another file; UNAVAILABLE: ask again with the same
   * request name
   */
  async ingest(name: string, file: string, options: IngestOptions = {}): Promise<Ingested> {
    const { request = randomUUID().slice(0, 8), format = formatOf(file) } = options;
    const start = {
      table: tableName(name),
      fileName: basename(file),
      format: FORMATS[format],
      requestId: valid(() => text({ request }, 'request', REQUEST_NAME)),
      actor: this.actor,
    };
    const opened = await open(file).catch((error: NodeJS.ErrnoException) => {
      throw new StewardError('INVALID_INPUT', `${file} cannot be read: ${error.code ?? error.message}`, {
        cause: error,
        details: { field: 'file' },
      });
    });
    try {
      const stream = opened.createReadStream({ highWaterMark: CHUNK_BYTES, autoClose: false });
      const answer = await this.coordinator.askTables((tables) =>
        tables.ingest(parts(start, stream), { timeoutMs: INGEST_DEADLINE_MS }),
      );
      const { snapshotId, rows, known } = answer;
      return { snapshotId: Number(snapshotId), rows: Number(rows), known };
    } finally {
      await opened.close();
    }
  }

  /**
   * Plans a table at once; its thresholds say how much of it, FULL when they ask for nothing. The result names the process
   * that was started, or why none was; the process goes on by itself (`get`).
   *
   * @throws StewardError INVALID_INPUT, UNAVAILABLE; the handle: NOT_FOUND
   */
  async optimize(
    name: string,
    { kind }: { readonly kind?: OptimizingKind | undefined } = {},
  ): Promise<OperationHandle<Planning>> {
    const input = valid(() =>
      planOptimizingInput({ table: tableName(name), ...(kind !== undefined && { kind }), actor: this.actor }),
    );
    const temporal = await this.temporal();
    const workflowId = `plan-optimizing/${name}/${randomUUID().slice(0, 8)}`;
    const { runId, attached } = await temporal.start({
      workflowType: 'planOptimizing',
      workflowId,
      input,
      summary: `plan table ${name}`,
      details: `Plans table ${name}${kind === undefined ? '' : ` (${kind})`} at once. Asked by ${this.actor}.`,
      resource: `table/${name}`,
    });
    return this.operations.handleOf(temporal, workflowId, runId, attached);
  }
}

const FORMATS = {
  CSV: IngestStart_Format.CSV,
  NDJSON: IngestStart_Format.NDJSON,
  PARQUET: IngestStart_Format.PARQUET,
} as const satisfies Record<FileFormat, IngestStart_Format>;

const EXTENSIONS: Readonly<Record<string, FileFormat>> = {
  '.csv': 'CSV',
  '.ndjson': 'NDJSON',
  '.jsonl': 'NDJSON',
  '.json': 'NDJSON',
  '.parquet': 'PARQUET',
};

function formatOf(file: string): FileFormat {
  const found = EXTENSIONS[extname(file).toLowerCase()];
  if (found !== undefined) return found;
  throw new StewardError(
    'INVALID_INPUT',
    `${file}: its name says nothing of its format: expected ${Object.keys(EXTENSIONS).join(', ')}, or give the format`,
    { details: { field: 'format' } },
  );
}

async function* parts(
  start: {
    readonly table: string;
    readonly fileName: string;
    readonly format: IngestStart_Format;
    readonly requestId: string;
    readonly actor: string;
  },
  file: AsyncIterable<unknown>,
): AsyncIterable<MessageInitShape<typeof IngestRequestSchema>> {
  yield { part: { case: 'start', value: start } };
  for await (const chunk of file) {
    yield { part: { case: 'chunk', value: new Uint8Array(chunk as Buffer) } };
  }
}

/** @throws StewardError INVALID_INPUT */
function tableName(name: unknown): string {
  return valid(() => text({ name }, 'name', TABLE_NAME));
}

function tableFrom(table: TableMessage): Table {
  return {
    tableId: Number(table.tableId),
    name: table.name,
    group: table.group,
    location: table.location,
    columns: table.columns.map(({ name, type }) => ({ name, type })),
    status: table.status as TableStatus,
    statusSince: isoOf(table.statusSince),
    snapshotId: Number(table.snapshotId),
    files: table.files,
    smallFiles: table.smallFiles,
    undersizedFiles: table.undersizedFiles,
    rows: Number(table.rows),
    bytes: Number(table.bytes),
    createdBy: table.createdBy,
    createdAt: isoOf(table.createdAt),
  };
}

function processFrom(process: ProcessMessage): OptimizingProcess {
  const { committingSince, endedAt, reason } = process;
  return {
    processId: Number(process.processId),
    kind: process.kind as OptimizingKind,
    state: process.state as ProcessState,
    baseSnapshot: Number(process.baseSnapshot),
    actor: process.actor,
    startedAt: isoOf(process.startedAt),
    ...(committingSince && { committingSince: isoOf(committingSince) }),
    ...(endedAt && { endedAt: isoOf(endedAt) }),
    ...(reason !== '' && { reason }),
    tasks: process.tasks.map(({ taskNo, state, attempt, failures, inputFiles, stateSince, ...task }) => ({
      taskNo,
      state: state as TaskState,
      attempt,
      failures,
      inputFiles,
      stateSince: isoOf(stateSince),
      ...(task.resourceId !== '' && { resourceId: task.resourceId }),
      ...(task.nodeId !== '' && { nodeId: task.nodeId }),
      ...(task.lastError !== '' && { lastError: task.lastError }),
    })),
  };
}
