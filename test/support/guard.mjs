// Ends what a test process leaves behind when it does not come to its own clean-up: it is told of processes and
// directories on stdin, and when stdin closes, because its owner ended or was killed, it kills and removes them.
// Plain JavaScript, because Node runs it without the build.
import { readFileSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';

const processes = new Map();
const directories = new Set();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});

for await (const line of createInterface({ input: process.stdin })) {
  const { pid, startedAt, directory } = JSON.parse(line);
  if (pid !== undefined) processes.set(pid, startedAt);
  if (directory !== undefined) directories.add(directory);
}

for (const [pid, startedAt] of processes) {
  if (!isSame(pid, startedAt)) continue;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone.
  }
}
for (const directory of directories)
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });

/** Whether the pid still belongs to the process that was told; elsewhere than on Linux it is taken for granted. */
function isSame(pid, startedAt) {
  if (process.platform !== 'linux') return true;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return startedAt.endsWith(`:${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`);
  } catch {
    return false;
  }
}
