import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * A container of one's own: optimizers as processes on the machine of the Steward worker, below OPTIMIZERS_HOME. Workers that
 * share it have to run on one machine. Start the worker with STEWARD_CONTAINERS=docs/examples/processes-container.mjs
 * and STEWARD_COORDINATOR_URL, then: steward optimizer-group create mine --container processes --optimizers 2
 */
const PROGRAM = fileURLToPath(new URL('../../dist/src/optimizer/main.js', import.meta.url));
const HOME = process.env['OPTIMIZERS_HOME'] ?? '/var/lib/steward/optimizers';
const COORDINATOR = process.env['STEWARD_COORDINATOR_URL'] ?? 'http://127.0.0.1:7400';

/** Children that are not gone, by directory: two calls for one launch start it once. */
const children = new Map();

const processes = {
  supportsAutoRestart: true,
  startsOptimizers: true,
  onNodes: false,

  /** Asked again and again until it is STARTED; whoever asks when it runs already is told the same. */
  async request({ catalogId, resourceId, epoch, group, threads, memoryMb, properties }) {
    const directory = join(HOME, catalogId, resourceId);
    const { pid, launch } = occupant(directory);
    if (launch === epoch) {
      return { state: 'STARTED', processId: String(pid), threads, memoryMb, properties: { directory } };
    }
    // What shall run stands on disk first. A process of an older launch sees it there and ends by itself.
    write(directory, { launch: epoch, group, threads, memoryMb, properties, wanted: true });
    if (children.has(directory)) return { state: 'PENDING', reason: 'it is starting' };
    const flags = [
      `--resource=${resourceId}`,
      `--group=${group}`,
      `--launch=${epoch}`,
      `--threads=${threads}`,
      `--memory-mb=${memoryMb}`,
      `--coordinator=${COORDINATOR}`,
      `--directory=${directory}`,
      ...Object.entries(properties).map(([key, value]) => `--property=${key}=${value}`),
    ];
    const child = spawn(process.execPath, [PROGRAM, ...flags], { detached: true, stdio: 'ignore' });
    children.set(directory, child);
    for (const end of ['exit', 'error']) child.once(end, () => children.delete(directory));
    child.unref();
    return { state: 'PENDING', reason: 'it is starting' };
  },

  /** RELEASED when no process is left, also when there never was one. */
  async release({ catalogId, resourceId }) {
    const directory = join(HOME, catalogId, resourceId);
    const { pid } = occupant(directory);
    if (pid === undefined) {
      children.get(directory)?.kill();
      rmSync(directory, { recursive: true, force: true });
      return { state: 'RELEASED' };
    }
    process.kill(pid);
    return { state: 'PENDING', reason: `process ${pid} is ending` };
  },
};

export const containers = { processes };

/** The live process that has the place; nothing when there is none. */
function occupant(directory) {
  try {
    const { pid, launch } = JSON.parse(readFileSync(join(directory, 'process.json'), 'utf8'));
    process.kill(pid, 0);
    return { pid, launch };
  } catch {
    return {};
  }
}

function write(directory, desired) {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'resource.json');
  writeFileSync(`${file}.new`, JSON.stringify(desired));
  renameSync(`${file}.new`, file);
}
