import { type Catalog, catalogId } from '../catalog/catalog.js';
import { listNodes } from '../catalog/nodes.js';
import { pauseOperation } from '../catalog/pauses.js';
import {
  epochsOfGroups,
  jobsBehind,
  type Lifted,
  liftEpochs,
  liftLaunch,
  liftRegionGroupIds,
  openJobs,
  renewClaims,
  skipProcessIds,
} from '../catalog/restoring.js';
import { listedOn } from '../catalog/sightings.js';
import { type EngineNode, isUnanswered } from '../engines/nodes.js';
import { acceptedEpochs } from '../engines/reference/epochs.js';
import type { NodeClients } from '../engines/reference/node-clients.js';
import { ReferenceRegionEngine } from '../engines/reference/regions.js';
import type { RegionOnNode } from '../engines/regions.js';
import { jobWorkflowId } from '../rules/job-ids.js';
import { findDifferences } from '../rules/sweep.js';

/** What a node has and the restored catalog does not, and the other way round. Region groups under a claim are in neither. */
export interface NodeDifferences {
  readonly nodeId: string;
  /** Region groups with a region there that the catalog does not list: made after the backup, or leaked before. */
  readonly onlyOnNode: readonly number[];
  /** Region groups of which the catalog lists a replica there: removed after the backup, or lost before. */
  readonly onlyInCatalog: readonly number[];
  /** Why the node was not asked; the rest is empty then. */
  readonly unreachable?: string;
}

const PAUSED_JOB =
  'the catalog was restored: nodes may have written more of it than its last checkpoint says, and a restart would write that again';

export interface Restored {
  readonly epochs: Lifted;
  readonly regionGroupIds: Lifted;
  readonly processIds: Lifted;
  /** Region groups whose claim got a new epoch. */
  readonly claimsRenewed: readonly number[];
  /** Places of optimizers whose launch was lifted. */
  readonly launchesLifted: readonly string[];
  /** Jobs that are fenced off by an execution that the catalog does not know: cancel them, and start them again. */
  readonly jobsBehind: readonly string[];
  /** Jobs that were not over in the backup: paused, so that none is started again before somebody looked at its sink. */
  readonly jobsPaused: readonly string[];
  readonly nodes: readonly NodeDifferences[];
}

/**
 * After the catalog was restored to an older point than its nodes: makes the catalog draw epochs and ids above all that
 * they know (I9), and tells what differs. Deletes nothing, on no node and in no table, and may be run again. A node that
 * did not answer is named; until it was asked, what it fences may stay blocked, and nothing worse.
 */
export async function catchUpWithNodes(
  catalog: Catalog,
  clients: NodeClients,
  nodeTimeoutMs: number,
): Promise<Restored> {
  const id = await catalogId(catalog);
  const surveys = [];
  for (const node of await listNodes(catalog, nodeTimeoutMs)) surveys.push(await survey(clients, node, id));

  const [regions, launches, jobs] = [
    new Map<number, number>(),
    new Map<string, number>(),
    new Map<string, number>(),
  ];
  for (const { accepted } of surveys) {
    for (const { kind, path, epoch } of accepted) {
      if (kind === 'region') raise(regions, Number(path), epoch);
      else if (kind === 'resource') raise(launches, path, epoch);
      else raise(jobs, path.split('/')[0]!, epoch);
    }
  }
  const listed = surveys.flatMap(({ regions: found }) => found.map(({ groupId }) => groupId));
  const highest = (values: Iterable<number>) => [...values].reduce((most, value) => Math.max(most, value), 0);

  const epochs = await liftEpochs(catalog, highest([...regions.values(), ...jobs.values()]));
  const regionGroupIds = await liftRegionGroupIds(catalog, highest([...regions.keys(), ...listed]));
  const processIds = await skipProcessIds(catalog);
  const current = await epochsOfGroups(catalog, [...regions.keys()]);
  const stale = [...current].filter(([group, epoch]) => epoch < regions.get(group)!).map(([group]) => group);
  const claimsRenewed = await renewClaims(catalog, stale);
  const launchesLifted = [];
  for (const [resource, launch] of launches) {
    if (await liftLaunch(catalog, resource, launch)) launchesLifted.push(resource);
  }
  const jobsPaused = await openJobs(catalog);
  for (const jobId of jobsPaused) {
    await pauseOperation(catalog, {
      operationId: jobWorkflowId(jobId),
      actor: 'steward setup --after-restore',
      reason: PAUSED_JOB,
    });
  }
  const nodes = [];
  for (const { nodeId, regions: found, unreachable } of surveys) {
    if (unreachable !== undefined) {
      nodes.push({ nodeId, onlyOnNode: [], onlyInCatalog: [], unreachable });
      continue;
    }
    const ids = found.map(({ groupId }) => groupId);
    const { replicas, claimed } = await listedOn(catalog, nodeId, ids);
    const { leaked, missing } = findDifferences(found, replicas, claimed);
    nodes.push({ nodeId, onlyOnNode: leaked, onlyInCatalog: missing });
  }
  return {
    epochs,
    regionGroupIds,
    processIds,
    claimsRenewed,
    launchesLifted: launchesLifted.sort(),
    jobsBehind: await jobsBehind(catalog, jobs),
    jobsPaused,
    nodes,
  };
}

interface Survey {
  readonly nodeId: string;
  readonly accepted: readonly { readonly kind: string; readonly path: string; readonly epoch: number }[];
  readonly regions: readonly RegionOnNode[];
  readonly unreachable?: string;
}

/** Everything or nothing of a node: half of what it knows must not look like all of it. */
async function survey(clients: NodeClients, node: EngineNode, id: string): Promise<Survey> {
  const { nodeId } = node;
  try {
    const accepted = await collect(acceptedEpochs(clients, node, id));
    const regions = await collect(new ReferenceRegionEngine(clients).listRegions(node, id));
    return { nodeId, accepted, regions };
  } catch (error) {
    if (!isUnanswered(error)) throw error;
    return { nodeId, accepted: [], regions: [], unreachable: error.message };
  }
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}

function raise<K>(most: Map<K, number>, key: K, epoch: number): void {
  most.set(key, Math.max(most.get(key) ?? 0, epoch));
}
