import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { freePort } from '../support/ports.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { startProxy } from '../support/proxy.js';
import { type Steward, startSteward } from '../support/steward.js';
import { FiveSystems, PATIENT } from './five-systems.js';

/** How often each process is restarted; CI does it less often than somebody who wants to be sure. */
const ROUNDS = Number(process.env['STEWARD_TEST_ROUNDS'] ?? 3);

const room = temporaryDirectory('rolling');
const ends: (() => Promise<unknown>)[] = [() => room.remove()];
let steward: Steward;
let restarted: readonly TestProcess[];
beforeAll(async () => {
  const [first, second] = [await freePort(), await freePort()];
  // What a load balancer is to callers: whichever coordinator answers.
  const coordinators = await startProxy([`127.0.0.1:${first}`, `127.0.0.1:${second}`]);
  ends.push(() => coordinators.close());
  steward = await startSteward({
    schedules: true,
    coordinatorListen: `127.0.0.1:${first}`,
    nodeFlags: [`--coordinator=http://${coordinators.address}`],
    workerEnv: PATIENT,
    coordinatorEnv: PATIENT,
  });
  ends.push(() => steward.stop());
  const env = {
    DATABASE_URL: steward.databaseUrl,
    TEMPORAL_ADDRESS: steward.temporalAddress,
    TEMPORAL_NAMESPACE: 'default',
    STEWARD_WAREHOUSE: `${steward.directory}/warehouse`,
    STEWARD_HEARTBEAT_INTERVAL_MS: '300',
    ...PATIENT,
  };
  const program = async (name: string, path: string, ...args: string[]) => {
    const started = await startProgram({
      name,
      program: path,
      args,
      env,
      directory: steward.directory,
      readyTimeoutMs: 60_000,
    });
    ends.push(() => started.stop());
    return started;
  };
  const worker = await program('worker-2', 'src/worker/main.ts');
  const coordinator = await program(
    'coordinator-2',
    'src/coordinator/main.ts',
    `--listen=127.0.0.1:${second}`,
  );
  restarted = [steward.worker, worker, steward.coordinator, coordinator, ...steward.nodes];
}, 180_000);
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

test(`every process is restarted in turn, ${ROUNDS} times, under the work of all systems: nothing fails, nothing twice`, async () => {
  const systems = new FiveSystems(steward, room.path);
  await systems.prepare();
  for (let round = 1; round <= ROUNDS; round += 1) {
    await systems.begin(`${round}`);
    for (const one of restarted) {
      const isNode = one.name.startsWith('node-');
      const before = isNode ? await incarnation(one.name) : 0;
      expect(await one.stop(), one.name).toMatchObject({ code: 0 });
      await one.restart();
      if (isNode) await eventually(`${one.name} is back`, async () => (await incarnation(one.name)) > before);
    }
    // Its keeper starts another one in its place.
    await systems.restartOptimizer();
  }
  await systems.judge();
}, 1_500_000);

/** Rises with every registration of a new process of the node. */
async function incarnation(nodeId: string): Promise<number> {
  const row = await steward.catalog
    .selectFrom('node')
    .select('incarnation')
    .where('node_id', '=', nodeId)
    .executeTakeFirstOrThrow();
  return row.incarnation;
}
