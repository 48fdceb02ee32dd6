import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../log.js';
import { MergeFaults } from '../optimizer/merge-faults.js';
import { identityOf } from '../process-identity.js';
import { RpcConnection } from '../rpc/connection.js';
import { Credentials } from '../rpc/credentials.js';
import { checkListening } from '../rpc/plain-text.js';
import { claimDataDirectory, releaseDataDirectory } from './data-directory.js';
import { DiskRegions } from './disk-regions.js';
import { type Facilities, facilityOf, performOperations, recoverOperations } from './effects.js';
import { Faults } from './faults.js';
import { Ledger } from './ledger.js';
import { LedgerRegions } from './ledger-regions.js';
import { LeftResults } from './left-results.js';
import type { NodeIdentity } from './node-identity.js';
import { Operations } from './operations.js';
import { OptimizerContainer } from './optimizer-container.js';
import { OptimizerPlaces } from './optimizer-places.js';
import type { NodeOptions } from './options.js';
import { RegionFacility } from './region-facility.js';
import type { RegionStore } from './region-store.js';
import { Registration } from './registration.js';
import { ResourceFacility } from './resource-facility.js';
import { resourceInventory } from './resource-inventory.js';
import { LiveOperation, ResourceQueues } from './resource-queues.js';
import { contractServer } from './rpc-server.js';
import { Coordinator } from './task-groups/coordinator.js';
import { TaskGroupFacility } from './task-groups/facility.js';
import { taskGroupInventory } from './task-groups/inventory.js';
import { Turns } from './turns.js';

/** Below the data directory. */
const MERGE_FAULTS = 'merge-faults';
const SWEEP_INTERVAL_MS = 60 * 60 * 1000;
/** For calls that are being answered when the node stops. */
const ANSWER_GRACE_MS = 1000;

/** The reference node: opened on its data directory, recovered, serving, until it is stopped. */
export interface RunningNode {
  readonly identity: NodeIdentity;
  readonly url: string;
  /** Takes no more calls, lets effects reach a safe point, and lets go of the data. What is not over stays pending. */
  stop(): Promise<void>;
}

/** Starts the node; what a crash had left behind is settled before it serves (I2, I4). */
export async function startNode(options: NodeOptions, log: Logger): Promise<RunningNode> {
  checkListening(options.host, options.transport);
  const credentials = new Credentials(options.transport, log);
  mkdirSync(options.data, { recursive: true });
  const ledger = new Ledger({ path: join(options.data, 'ledger'), log });
  try {
    claimDataDirectory(ledger, options.data, { nodeId: options.id, regions: options.regions });
  } catch (error) {
    await ledger.close();
    throw error;
  }
  const store: RegionStore =
    options.regions === 'disk'
      ? new DiskRegions({ ...options, path: options.data })
      : new LedgerRegions(ledger);
  const mergeFaults = new MergeFaults(join(options.data, MERGE_FAULTS));
  const faults = new Faults(options.coordinator === undefined ? undefined : mergeFaults);
  const places = new OptimizerPlaces(options.data);
  const container = optimizerContainer(places, credentials, options, log);
  const taskGroups = taskGroupFacility(ledger, faults, credentials, options, log);
  const facilities: Facilities = {
    regions: new RegionFacility(store, ledger),
    ...(container !== undefined && { resources: new ResourceFacility(container) }),
    ...(taskGroups !== undefined && { taskGroups }),
  };
  const turns = new Turns(ledger);
  const queues = new ResourceQueues(ledger, performOperations(facilities, ledger, faults), log, turns);
  queues.add(await recover(facilities, ledger, log));

  const identity: NodeIdentity = {
    nodeId: options.id,
    ledgerId: ledger.id,
    capabilities: [
      ...Object.values(facilities).map(({ capability }) => capability),
      ...(options.allowFaults ? ['faults'] : []),
    ],
    incarnation: 0n,
  };
  const operations = new Operations(ledger, queues, {
    nodeId: options.id,
    maxPending: options.maxPending,
    supports: (request) => facilityOf(facilities, request) !== undefined,
    full: (request, underWay) => taskGroups?.full(request, underWay),
  });
  const { allowFaults } = options;
  const contract = {
    identity,
    operations,
    store,
    ledger,
    resources: container && resourceInventory(places, ledger, identity, log),
    taskGroups: taskGroups && taskGroupInventory(taskGroups, identity),
    faults,
    allowFaults,
    data: options.data,
    turns,
  };
  const server = contractServer(contract, credentials, log);
  const url = await server.listen(options.host, options.port);

  const sweep = async (): Promise<void> => {
    try {
      const dropped = await ledger.dropExpired();
      if (dropped > 0) log.info({ dropped }, 'dropped outcomes whose retention is over');
    } catch (error) {
      log.error({ err: error }, 'cannot drop outcomes whose retention is over; trying again in an hour');
    }
  };
  void sweep();
  const sweeping = setInterval(() => void sweep(), SWEEP_INTERVAL_MS);

  const { coordinator, advertise } = options;
  const registration =
    coordinator === undefined
      ? undefined
      : new Registration({
          coordinator,
          address: advertise ?? url,
          bootId: randomUUID(),
          identity,
          maxTaskGroups: options.maxTaskGroups,
          credentials,
          limit: (limits) => turns.limit(limits),
          log,
        });

  return {
    identity,
    url,
    async stop() {
      clearInterval(sweeping);
      await Promise.all([registration?.stop(), server.close(ANSWER_GRACE_MS), queues.stop()]);
      await Promise.all(Object.values(facilities).map((facility) => facility.stop()));
      credentials.close();
      ledger.flush();
      releaseDataDirectory(ledger);
      await ledger.close();
    },
  };
}

/** A node that has a coordinator can give optimizers one to poll. */
function optimizerContainer(
  places: OptimizerPlaces,
  credentials: Credentials,
  { data, id, coordinator, transport, allowFaults, exitWithParent }: NodeOptions,
  log: Logger,
): OptimizerContainer | undefined {
  if (coordinator === undefined) return undefined;
  // A node that ends with its parent, however it ends itself, leaves no optimizer behind that would not.
  const mergeFaults = allowFaults ? join(data, MERGE_FAULTS) : undefined;
  const exitWith = exitWithParent ? identityOf(process.ppid) : undefined;
  const leftResults = new LeftResults(new RpcConnection(coordinator, credentials), log);
  return new OptimizerContainer(places, leftResults, {
    data,
    nodeId: id,
    coordinator,
    transport,
    mergeFaults,
    exitWith,
    log,
  });
}

/** Checkpoints are the coordinator's to commit: without one there are no task groups. */
function taskGroupFacility(
  ledger: Ledger,
  faults: Faults,
  credentials: Credentials,
  options: NodeOptions,
  log: Logger,
): TaskGroupFacility | undefined {
  const { id: nodeId, data, maxTaskGroups, savepointLimitMs, taskGroupRetentionMs: retentionMs } = options;
  if (options.coordinator === undefined) return undefined;
  const connection = new RpcConnection(options.coordinator, credentials);
  const coordinator = new Coordinator(connection, { nodeId, ledgerId: ledger.id });
  return new TaskGroupFacility({
    nodeId,
    ledger,
    coordinator,
    faults,
    data,
    maxTaskGroups,
    savepointLimitMs,
    retentionMs,
    log,
  });
}

async function recover(facilities: Facilities, ledger: Ledger, log: Logger): Promise<LiveOperation[]> {
  const pending = ledger.pending().map((operation) => new LiveOperation(operation));
  const { resumed, interrupted, settled } = await recoverOperations(facilities, ledger, pending);
  if (pending.length > 0 || Object.values(settled).some((count) => count > 0)) {
    log.info({ resumed: resumed.length, interrupted, ...settled }, 'recovered after a stop or crash');
  }
  return resumed;
}
