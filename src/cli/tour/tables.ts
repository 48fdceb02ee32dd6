import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StewardClient, TableDescription } from '../../client/index.js';
import { stewardHome } from '../../local/layout.js';
import { counted } from '../../rules/counted.js';
import { TOUR_GROUP } from './optimizers.js';
import { type Tour, until } from './part.js';

const TABLE = 'events';
const FILES = 200;
const ROWS_PER_FILE = 20;
const INGESTED_AT_A_TIME = 4;
const OPTIMIZED_WITHIN_MS = 60_000;

/**
 * A table of a few hundred small files, and what the optimizers leave of them. A stack that has the table already only
 * shows it; a tour that was interrupted goes on.
 */
export async function tableTour({ client, say }: Tour): Promise<string> {
  const known = (await client.tables.list()).find(({ name }) => name === TABLE);
  if (known === undefined || known.snapshotId < FILES) {
    await fillTable(client, TABLE, FILES, say);
    say(`optimizing table ${TABLE}`);
    await (await client.tables.optimize(TABLE, { kind: 'FULL' })).result();
    await optimized(client, TABLE);
  }
  const { files, rows } = await client.tables.get(TABLE);
  return `table ${TABLE}: ${counted(FILES, 'small file')} of ${ROWS_PER_FILE} rows ingested, merged into ${files}; ${rows} rows`;
}

/** Makes the table unless it is there, and ingests the files that it lacks. */
export async function fillTable(
  client: StewardClient,
  table: string,
  files: number,
  say: (line: string) => void,
): Promise<void> {
  const exists = (await client.tables.list()).some(({ name }) => name === table);
  if (!exists) await client.tables.create({ name: table, group: TOUR_GROUP });
  say(`ingesting ${files} small files into table ${table}`);
  const directory = join(stewardHome(), 'tour');
  await mkdir(directory, { recursive: true });
  const numbers = Array.from({ length: files }, (_, index) => index + 1);
  await Promise.all(
    Array.from({ length: INGESTED_AT_A_TIME }, async () => {
      for (let number = numbers.shift(); number !== undefined; number = numbers.shift()) {
        const file = join(directory, `${table}-${number}.csv`);
        await writeFile(file, rowsOf(number));
        // Named, so that a tour that was interrupted ingests nothing twice.
        await client.tables.ingest(table, file, { request: `tour-${number}` });
      }
    }),
  );
}

/** Resolves when its newest process was committed. */
export async function optimized(client: StewardClient, table: string): Promise<TableDescription> {
  return until(
    `table ${table} is optimized: see steward table show ${table}`,
    async () => {
      const description = await client.tables.get(table);
      return description.process?.state === 'SUCCESS' && description;
    },
    OPTIMIZED_WITHIN_MS,
  );
}

function rowsOf(number: number): string {
  const rows = Array.from({ length: ROWS_PER_FILE }, (_, row) => {
    const id = (number - 1) * ROWS_PER_FILE + row + 1;
    return `${id},user-${id % 17},${(id * 37) % 1_000}`;
  });
  return ['id,name,amount', ...rows, ''].join('\n');
}
