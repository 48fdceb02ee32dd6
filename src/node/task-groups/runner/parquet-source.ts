import type { DuckDBConnection } from '@duckdb/node-api';
import { list, rowsOf, text } from './engine.js';
import type { Source, SourceContext } from './source.js';
import type { Column, RowSplit } from './split.js';

const BATCH_ROWS = 50_000;
/** Of a row group as most writers make them. */
const LEAST_SPLIT_ROWS = 10_000;
const GUESSED_ROW_BYTES = 100;

/** Parquet files, in the order given, divided by row numbers. */
export function openParquet(paths: readonly string[], { engine, parallelism }: SourceContext): Source {
  const place = (connection: DuckDBConnection, file: number, from: number, to: number): Promise<unknown> =>
    connection.run(
      `CREATE OR REPLACE TEMP VIEW source AS SELECT * EXCLUDE (file_row_number)
       FROM read_parquet(${text(paths[file]!)}, file_row_number = true)
       WHERE file_row_number >= ${from} AND file_row_number < ${to}`,
    );

  const columnsOf = async (connection: DuckDBConnection, path: string): Promise<Column[]> =>
    (await rowsOf(connection, `DESCRIBE SELECT * FROM read_parquet(${text(path)})`)).map((row) => ({
      name: String(row['column_name']),
      type: String(row['column_type']),
    }));

  return {
    async plan() {
      const connection = await engine.connect();
      try {
        const columns = await columnsOf(connection, paths[0]!);
        for (const path of paths.slice(1)) {
          const other = await columnsOf(connection, path);
          if (JSON.stringify(other) !== JSON.stringify(columns)) {
            throw new Error(`${path} has other columns than ${paths[0]}`);
          }
        }
        const counted = await rowsOf(
          connection,
          `SELECT file_name, num_rows FROM parquet_file_metadata(${list(paths)})`,
        );
        const rows = new Map(counted.map((row) => [String(row['file_name']), Number(row['num_rows'])]));
        const total = paths.reduce((sum, path) => sum + rows.get(path)!, 0);
        const share = Math.max(LEAST_SPLIT_ROWS, Math.ceil(total / parallelism));
        const subTasks: RowSplit[][] = Array.from({ length: parallelism }, () => []);
        let given = 0;
        for (const [file, path] of paths.entries()) {
          const count = rows.get(path)!;
          for (let from = 0; from < count; ) {
            const index = Math.floor(given / share);
            const to = Math.min(count, from + (index + 1) * share - given);
            subTasks[index]!.push({ kind: 'rows', file, from, to });
            given += to - from;
            from = to;
          }
        }
        return { columns, subTasks };
      } finally {
        connection.closeSync();
      }
    },

    async reader(connection) {
      await place(connection, 0, 0, 1);
      return {
        async read(split, pause) {
          if (split.kind !== 'rows') throw new Error(`the checkpoint to restore is of another source`);
          if (pause.aborted) return undefined;
          const path = paths[split.file];
          if (path === undefined) throw new Error('the checkpoint to restore is of more files');
          const to = Math.min(split.to, split.from + BATCH_ROWS);
          await place(connection, split.file, split.from, to);
          return {
            rows: to - split.from,
            bytes: (to - split.from) * GUESSED_ROW_BYTES,
            rest: to === split.to ? undefined : { ...split, from: to },
            explain: (error) =>
              new Error(`${path}, rows ${split.from} to ${to - 1}: ${error.message}`, { cause: error }),
          };
        },
      };
    },
  };
}
