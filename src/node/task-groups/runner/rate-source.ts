import { setTimeout as sleep } from 'node:timers/promises';
import type { TaskGroupSource } from '../../operation.js';
import type { Source, SourceContext } from './source.js';
import { divide } from './split.js';

type Rate = Extract<TaskGroupSource, { kind: 'rate' }>;

/** Rows are made in turns of at least this time, unless they come more slowly. */
const TURN_MS = 25;
/** Rows that were missed (a checkpoint took long, the machine slept) are made up for, as many as were due in this time. */
const MOST_BEHIND_MS = 1000;
const MAX_BATCH_ROWS = 20_000;
const ROW_BYTES = 16;

/** Rows (seq BIGINT, emitted_at TIMESTAMP); the sub-tasks take turns with the numbers. */
export function openRate({ first, rows, rowsPerSecond }: Rate, { parallelism }: SourceContext): Source {
  return {
    async plan() {
      const whole = { kind: 'sequence', next: first, step: 1, left: rows === 0 ? null : rows } as const;
      const subTasks = divide(whole, parallelism).map((split) => [split]);
      while (subTasks.length < parallelism) subTasks.push([]);
      return {
        columns: [
          { name: 'seq', type: 'BIGINT' },
          { name: 'emitted_at', type: 'TIMESTAMP' },
        ],
        subTasks,
      };
    },

    async reader(connection) {
      const perMs = rowsPerSecond / parallelism / 1000;
      let since = performance.now();
      let made = 0;
      const place = (next: number, step: number, count: number): Promise<unknown> =>
        connection.run(
          `CREATE OR REPLACE TEMP VIEW source AS SELECT (${next} + i * ${step})::BIGINT AS seq,
           make_timestamp(${Date.now() * 1000}) AS emitted_at FROM range(${count}) AS r(i)`,
        );
      await place(0, 1, 1);
      return {
        async read(split, pause) {
          if (split.kind !== 'sequence') throw new Error(`the checkpoint to restore is of another source`);
          const { next, step, left } = split;
          const wanted = Math.min(left ?? MAX_BATCH_ROWS, MAX_BATCH_ROWS);
          let due = 0;
          for (;;) {
            if (pause.aborted) return undefined;
            const now = performance.now();
            since = Math.max(since, now - MOST_BEHIND_MS - made / perMs);
            due = Math.floor((now - since) * perMs) - made;
            if (due >= Math.min(wanted, Math.max(1, TURN_MS * perMs))) break;
            const waitMs = Math.max(1, Math.min(TURN_MS, (made + 1) / perMs - (now - since)));
            await sleep(waitMs, undefined, { signal: pause }).catch(() => undefined);
          }
          const count = Math.min(due, wanted);
          made += count;
          await place(next, step, count);
          const rest = {
            kind: 'sequence',
            next: next + count * step,
            step,
            left: left === null ? null : left - count,
          } as const;
          return {
            rows: count,
            bytes: count * ROW_BYTES,
            rest: rest.left === 0 ? undefined : rest,
            explain: (error) => error,
          };
        },
      };
    },
  };
}
