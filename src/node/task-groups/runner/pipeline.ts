import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Part } from '../../operation.js';
import { Engine } from './engine.js';
import { openSource } from './open-source.js';
import type { FromRunner, Last, PipelineSpec } from './protocol.js';
import { decodePosition, distribute, encodePosition } from './split.js';
import { SubTask } from './sub-task.js';
import { checkTransform, createOutput, readTransform } from './transform.js';

/** What may be staged between two checkpoints. */
const MAX_STAGED_BYTES = 16 * 1024 ** 3;

/** Longest time that a Node.js timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Source, transform and sink of one task group. It works in rounds: the sub-tasks run next to each other until a
 * checkpoint is due, then all of them stand still while it is staged, committed and published.
 */
export class Pipeline {
  #pause = new AbortController();
  #savepointIsWanted = false;
  #committed: () => void = () => undefined;
  #rowsIn: number;
  #rowsOut: number;
  #stagedBytes = 0;
  #checkpointId: number;

  constructor(
    private readonly spec: PipelineSpec,
    private readonly tell: (message: FromRunner) => void,
  ) {
    this.#rowsIn = spec.restore?.rowsIn ?? 0;
    this.#rowsOut = spec.restore?.rowsOut ?? 0;
    this.#checkpointId = spec.restore?.checkpointId ?? 0;
  }

  /** Resolves when the last checkpoint is committed and published. */
  async run(): Promise<void> {
    const { scratch, source, directory, staging } = this.spec;
    await mkdir(scratch, { recursive: true });
    const files = source.kind === 'files' ? source.paths : [];
    try {
      const engine = await Engine.open(files, [scratch, join(directory, staging)]);
      try {
        await this.#run(engine);
      } finally {
        engine.close();
      }
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  /** The checkpoint that was staged last is committed and published. */
  committed(): void {
    this.#committed();
  }

  /** Ends with a checkpoint as soon as the batches under way are done. */
  savepoint(): void {
    this.#savepointIsWanted = true;
    this.#pause.abort();
  }

  async #run(engine: Engine): Promise<void> {
    const { source: what, restore, parallelism, transform, scratch } = this.spec;
    const source = openSource(what, { engine, parallelism, scratch });
    const position = restore === undefined ? await source.plan() : decodePosition(restore.position);
    const { columns } = position;
    const subTasks: SubTask[] = [];
    for (const [index, splits] of distribute(position.subTasks, parallelism).entries()) {
      const connection = await engine.connect();
      const reader = await source.reader(connection, columns, `sub-task-${index + 1}`);
      const select = await readTransform(connection, transform);
      await checkTransform(connection, select);
      await createOutput(connection, select);
      subTasks.push(this.#subTask(index + 1, splits, { connection, reader, select }));
    }
    for (;;) {
      const rowsBefore = this.#rowsIn;
      await this.#round(subTasks);
      const last = this.#last(subTasks);
      if (last === undefined && this.#rowsIn === rowsBefore) continue;
      const parts: Part[] = [];
      for (const subTask of subTasks) parts.push(...(await subTask.checkpoint()));
      this.#checkpointId += 1;
      await this.#commit(
        {
          checkpointId: this.#checkpointId,
          position: encodePosition({ columns, subTasks: subTasks.map(({ splits }) => splits) }),
          parts,
          rowsIn: this.#rowsIn,
          rowsOut: this.#rowsOut,
        },
        last,
      );
      if (last !== undefined) return;
    }
  }

  #subTask(
    number: number,
    splits: ConstructorParameters<typeof SubTask>[1],
    parts: Pick<ConstructorParameters<typeof SubTask>[0], 'connection' | 'reader' | 'select'>,
  ): SubTask {
    const { format, directory, staging, prefix } = this.spec;
    return new SubTask(
      {
        ...parts,
        format,
        directory,
        nameOf: (part) => {
          const name = `c${this.#checkpointId + 1}.s${number}-${part}.${format}`;
          return { staged: join(staging, name), published: `${prefix}.${name}` };
        },
        onBatch: (rowsIn, rowsOut) => {
          this.#rowsIn += rowsIn;
          this.#rowsOut += rowsOut;
          this.tell({ type: 'progress', rowsIn: this.#rowsIn, rowsOut: this.#rowsOut });
        },
        onPart: (bytes) => {
          this.#stagedBytes += bytes;
          if (this.#stagedBytes <= MAX_STAGED_BYTES) return;
          throw new Error(
            `more than ${MAX_STAGED_BYTES / 1024 ** 3} GiB are staged without a checkpoint: set a shorter checkpoint interval`,
          );
        },
      },
      splits,
    );
  }

  /** Runs the sub-tasks until they have nothing left or a checkpoint is due; one that fails pauses the others. */
  async #round(subTasks: readonly SubTask[]): Promise<void> {
    const pause = new AbortController();
    this.#pause = pause;
    if (this.#savepointIsWanted) return;
    const { checkpointIntervalMs } = this.spec;
    const timer =
      checkpointIntervalMs === undefined
        ? undefined
        : setTimeout(() => pause.abort(), Math.min(checkpointIntervalMs, MAX_TIMER_MS));
    try {
      const failures: unknown[] = [];
      await Promise.all(
        subTasks.map((subTask) =>
          subTask.run(pause.signal).catch((error) => {
            failures.push(error);
            pause.abort();
          }),
        ),
      );
      if (failures.length > 0) throw failures[0];
    } finally {
      clearTimeout(timer);
    }
  }

  #last(subTasks: readonly SubTask[]): Last {
    if (subTasks.every(({ splits }) => splits.length === 0)) return 'end-of-source';
    return this.#savepointIsWanted ? 'savepoint' : undefined;
  }

  async #commit(
    checkpoint: Extract<FromRunner, { type: 'staged' }>['checkpoint'],
    last: Last,
  ): Promise<void> {
    const committed = new Promise<void>((resolve) => {
      this.#committed = resolve;
    });
    this.tell({ type: 'staged', checkpoint, last });
    await committed;
    this.#stagedBytes = 0;
  }
}
