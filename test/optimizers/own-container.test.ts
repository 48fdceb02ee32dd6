import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { NodeClients } from '../../src/engines/reference/node-clients.js';
import { ReferenceOptimizerEngine } from '../../src/engines/reference/optimizers.js';
import { loadContainers } from '../../src/worker/containers.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { freePort } from '../support/ports.js';
import { type KeeperSteward, startKeeperSteward } from './keeper-steward.js';

/** The module of docs/optimizers.md, loaded by a real worker. */
let steward: KeeperSteward;
const room = temporaryDirectory('own-container');
const home = room.path;
const EXAMPLE = fileURLToPath(new URL('../../docs/examples/processes-container.mjs', import.meta.url));

vi.setConfig({ testTimeout: 90_000 });
beforeAll(async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  steward = await startKeeperSteward({
    nodes: 1,
    coordinatorListen: listen,
    workerEnv: {
      STEWARD_CONTAINERS: EXAMPLE,
      STEWARD_COORDINATOR_URL: `http://${listen}`,
      OPTIMIZERS_HOME: home,
    },
  });
});
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

test('a container of one\u2019s own starts, restarts and releases optimizers like any other', async () => {
  const group = await steward.group(
    'mine',
    { minParallelism: 2, gracePeriodMs: 10_000, maxRetries: 1 },
    'processes',
  );
  const [first] = await steward.live(group, 1);
  const { resourceId } = first!;
  await eventually('it is STARTED', async () => (await own(group, resourceId))?.state === 'STARTED');
  const started = (await own(group, resourceId))!;
  expect(started.properties).toEqual({ directory: join(home, steward.catalogId, resourceId) });
  process.kill(Number(started.processId), 'SIGKILL');
  const again = await eventually(
    'it is restarted',
    async () => {
      const found = await own(group, resourceId);
      return found?.launch === 2 && found.state === 'STARTED' && found.optimizer?.alive && found;
    },
    60_000,
  );
  expect(again.processId).not.toBe(started.processId);
  await steward.client.optimizerGroups.scale(group, { minParallelism: 0, maxRetries: 0, gracePeriodMs: 500 });
  process.kill(Number(again.processId), 'SIGKILL');
  await eventually('it is released', async () => (await own(group, resourceId)) === undefined);
  expect(existsSync(join(home, steward.catalogId, resourceId))).toBe(false);
});

test.each([
  ['no containers', 'export const other = {};', 'must export containers'],
  ['half a container', 'export const containers = { half: { request() {} } };', 'container half'],
  ['no container at all', 'export const containers = { none: null };', 'container none'],
  ['a name that is taken', 'export const containers = { local: {} };', 'container local'],
  ['a wrong name', 'export const containers = { "A B": {} };', 'container A B'],
])('a module with %s is refused, and named', async (what, source, message) => {
  const file = join(home, `${what.replaceAll(' ', '-')}.mjs`);
  writeFileSync(file, source);
  const engine = new ReferenceOptimizerEngine(undefined as unknown as NodeClients);
  await expect(loadContainers(file, engine)).rejects.toThrow(message);
  await expect(loadContainers(file, engine)).rejects.toThrow('STEWARD_CONTAINERS');
});

async function own(group: string, resourceId: string) {
  return (await steward.resources(group)).find((one) => one.resourceId === resourceId);
}
