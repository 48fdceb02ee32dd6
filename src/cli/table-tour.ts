import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StewardClient, TableDescription } from '../client/index.js';
import { stewardHome } from '../local/layout.js';
import { TOUR_GROUP } from './optimizer-tour.js';
import { counted } from './words.js';

const TABLE = 'events';
const FILES = 200;
const ROWS_PER_FILE = 20;
const INGESTED_AT_A_TIME = 4;
const LOOK_EVERY_MS = 200;
const OPTIMIZED_WITHIN_MS = 60_000;

/**
 * The part of the tour with a table: a few hundred small files, and what the optimizers leave of them. A stack that has
 * the table already only shows it; a tour that was interrupted goes on.
 */
export async function tableTour(client: StewardClient, say: (line: string) => void): Promise<string> {
  const known = (await client.tables.list()).find(({ name }) => name === TABLE);
  if (known === undefined || known.snapshotId < FILES) await makeTable(client, known !== undefined, say);
  const table = await client.tables.get(TABLE);
  const [first, last] = [filesBefore(table), table.files];
  return `Table ${TABLE}: ${counted(FILES, 'small file')} ingested, ${first} before optimizing, ${last} after; ${table.rows} rows.`;
}

async function makeTable(client: StewardClient, exists: boolean, say: (line: string) => void): Promise<void> {
  if (!exists) await client.tables.create({ name: TABLE, group: TOUR_GROUP });
  say(`ingesting ${FILES} small files into table ${TABLE}`);
  const directory = join(stewardHome(), 'tour');
  await mkdir(directory, { recursive: true });
  const numbers = Array.from({ length: FILES }, (_, index) => index + 1);
  await Promise.all(
    Array.from({ length: INGESTED_AT_A_TIME }, async () => {
      for (let number = numbers.shift(); number !== undefined; number = numbers.shift()) {
        const file = join(directory, `events-${number}.csv`);
        await writeFile(file, eventsOf(number));
        // Named, so that a tour that was interrupted ingests nothing twice.
        await client.tables.ingest(TABLE, file, { request: `tour-${number}` });
      }
    }),
  );
  say(`optimizing table ${TABLE}`);
  await (await client.tables.optimize(TABLE, { kind: 'FULL' })).result();
  await optimized(client);
}

/** Waits until it is; what takes longer is shown as it is then, and goes on. */
async function optimized(client: StewardClient): Promise<void> {
  const deadline = performance.now() + OPTIMIZED_WITHIN_MS;
  while (performance.now() < deadline) {
    const { process } = await client.tables.get(TABLE);
    if (process?.state === 'SUCCESS') return;
    await sleep(LOOK_EVERY_MS);
  }
}

function eventsOf(number: number): string {
  const rows = Array.from({ length: ROWS_PER_FILE }, (_, row) => {
    const id = (number - 1) * ROWS_PER_FILE + row + 1;
    return `${id},user-${id % 17},${(id * 37) % 1_000}`;
  });
  return ['id,name,amount', ...rows, ''].join('\n');
}

/** Files that the newest process found; what a table without one has. */
function filesBefore(table: TableDescription): number {
  if (table.process === undefined) return table.files;
  const merged = table.process.tasks.reduce((sum, { inputFiles }) => sum + inputFiles, 0);
  return merged + table.files - table.process.tasks.length;
}
