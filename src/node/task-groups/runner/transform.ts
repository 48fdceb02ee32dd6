import type { DuckDBConnection } from '@duckdb/node-api';
import { rowsOf, text } from './engine.js';

/** Operators whose result depends on which rows happen to be in a batch. */
const NOT_BY_ROW = /AGGREGATE|GROUP_BY|WINDOW|ORDER_BY|TOP_N|LIMIT|SAMPLE/;

/** The transform as one SELECT; throws for anything else. */
export async function readTransform(connection: DuckDBConnection, transform: string): Promise<string> {
  const select = transform.trim().replace(/;+$/, '');
  if (select === '') return 'SELECT * FROM source';
  const [row] = await rowsOf(connection, `SELECT json_serialize_sql(${text(select)}) AS tree`);
  const tree = JSON.parse(String(row!['tree'])) as
    | { error: true; error_message: string; position?: string }
    | { error: false; statements: unknown[] };
  if (tree.error) {
    const at = tree.position === undefined ? '' : `, at character ${Number(tree.position) + 1}`;
    throw new Error(`the transform does not parse: ${tree.error_message}${at}`);
  }
  if (tree.statements.length !== 1) throw new Error('the transform must be one SELECT');
  return select;
}

/** Makes the table `out`, empty, for what the transform gives of the view `source`. */
export async function createOutput(connection: DuckDBConnection, select: string): Promise<void> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE out AS ${select}\nWITH NO DATA`);
}

/** Throws when the transform does not fit the columns of `source`, or does not work row by row. */
export async function checkTransform(connection: DuckDBConnection, select: string): Promise<void> {
  try {
    const [plan] = await rowsOf(connection, `EXPLAIN (FORMAT json) ${select}`);
    const operators = [...String(plan!['explain_value']).matchAll(/"name": "(\w+)"/g)].map(
      ([, name]) => name!,
    );
    const unfit = operators.find((name) => NOT_BY_ROW.test(name));
    if (unfit !== undefined) {
      throw new Error(`it must work row by row, and ${unfit} needs more than one row at a time`);
    }
  } catch (error) {
    throw new Error(`the transform cannot be done: ${(error as Error).message}`, { cause: error });
  }
}
