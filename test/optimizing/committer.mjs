// Commits a process, and stays for ever at the step that it is told: for a test that kills it there.
import { openCatalog } from '../../dist/src/catalog/catalog.js';
import { commitProcess } from '../../dist/src/catalog/optimizing/committing.js';

const [databaseUrl, processId, targetFileBytes, stayAt] = process.argv.slice(2);
const catalog = openCatalog(
  { databaseUrl, lockTimeoutMs: 5_000, statementTimeoutMs: 20_000 },
  { name: 'committer', connections: 2 },
);
setInterval(() => {}, 1_000);
await commitProcess(catalog, Number(processId), {
  targetFileBytes: Number(targetFileBytes),
  async at(step) {
    if (step !== stayAt) return;
    process.stdout.write(`${step}\n`);
    await new Promise(() => {});
  },
});
