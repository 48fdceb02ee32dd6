import type { Database, RootDatabase } from 'lmdb';
import { type TaskGroupLocation, taskGroupPath } from '../../rules/operation-id.js';
import type { TaskGroupRecord } from './record.js';

/** Orders as (catalog id, job id, pipeline, task group). */
type Key = [catalogId: string, jobId: string, pipeline: number, taskGroup: number];

export interface RecordQuery {
  readonly limit: number;
  readonly after?: TaskGroupLocation | undefined;
  readonly catalogId?: string | undefined;
  readonly jobId?: string | undefined;
}

/** The records of task groups, in the environment of the ledger. What was written has been flushed to disk. */
export class TaskGroupRecords {
  readonly #records: Database<TaskGroupRecord, Key>;

  constructor(private readonly root: RootDatabase) {
    this.#records = root.openDB({ name: 'task-groups' });
  }

  get(location: TaskGroupLocation): TaskGroupRecord | undefined {
    return this.#records.get(keyOf(location));
  }

  /** Throws when the ledger could not be written: then nothing was. */
  put(record: TaskGroupRecord): void {
    this.putAll([record]);
  }

  putAll(records: readonly TaskGroupRecord[]): void {
    this.root.transactionSync(() => {
      for (const record of records) this.#records.putSync(keyOf(record.location), record);
    });
  }

  /**
   * Changes the record if it is still of this execution, and answers what it is then; undefined when it is not. Throws
   * when the ledger could not be written.
   */
  change(
    { location, execution }: Pick<TaskGroupRecord, 'location' | 'execution'>,
    change: (record: TaskGroupRecord) => TaskGroupRecord,
  ): TaskGroupRecord | undefined {
    return this.root.transactionSync(() => {
      const known = this.#records.get(keyOf(location));
      if (known?.execution !== execution) return undefined;
      const changed = change(known);
      this.#records.putSync(keyOf(location), changed);
      return changed;
    });
  }

  remove(location: TaskGroupLocation): void {
    this.root.transactionSync(() => this.#records.removeSync(keyOf(location)));
  }

  /** Forgets those for which `isDue` holds; answers how many they were. */
  forget(isDue: (record: TaskGroupRecord) => boolean): number {
    const due = [...this.#records.getRange()].filter(({ value }) => isDue(value));
    if (due.length === 0) return 0;
    this.root.transactionSync(() => {
      for (const { key } of due) this.#records.removeSync(key);
    });
    return due.length;
  }

  all(): TaskGroupRecord[] {
    return [...this.#records.getRange()].map(({ value }) => value);
  }

  /** Records in the order of their locations, after `after`. */
  list({ limit, after, catalogId, jobId }: RecordQuery): TaskGroupRecord[] {
    const start = after === undefined ? (catalogId === undefined ? [] : [catalogId]) : keyOf(after);
    const found: TaskGroupRecord[] = [];
    const range = this.#records.getRange({ start: start as Key, exclusiveStart: after !== undefined });
    for (const { value } of range) {
      const { location } = value;
      if (found.length >= limit || (catalogId !== undefined && location.catalogId !== catalogId)) break;
      if (jobId === undefined || location.jobId === jobId) found.push(value);
    }
    return found;
  }
}

function keyOf({ catalogId, jobId, pipeline, taskGroup }: TaskGroupLocation): Key {
  return [catalogId, jobId, pipeline, taskGroup];
}

/** What {@link taskGroupPath} made; undefined for anything else. */
export function parseTaskGroupPath(path: string): TaskGroupLocation | undefined {
  const match = /^([0-9a-f-]{36})\/([^/]{1,63})\/(\d{1,10})\/(\d{1,10})$/.exec(path);
  if (match === null) return undefined;
  const [, catalogId, jobId, pipeline, taskGroup] = match;
  const location = {
    catalogId: catalogId!,
    jobId: jobId!,
    pipeline: Number(pipeline),
    taskGroup: Number(taskGroup),
  };
  return taskGroupPath(location) === path ? location : undefined;
}
