import type { Catalog } from '../../src/catalog/catalog.js';
import { findNode } from '../../src/catalog/nodes.js';
import {
  dropReleased,
  placeResource,
  type ResourceRow,
  recordContainerError,
  recordStarted,
  resourcesOf,
} from '../../src/catalog/optimizers/resources.js';
import type { Containers, OptimizerContainer, OptimizerPlace } from '../../src/engines/containers.js';
import type { Logger } from '../../src/log.js';
import { messageOf } from '../../src/message-of.js';
import type { Settings } from '../../src/model/settings.js';
import { type Driven, drivingStep } from '../../src/rules/driving.js';

export interface DrivingDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly containers: Containers;
  readonly settings: Pick<Settings, 'nodeTimeoutMs'>;
  readonly log: Logger;
}

/** How long a container that answers PENDING is asked again within a cycle. */
const CONTAINER_WAIT_MS = 3_000;
const CONTAINER_POLL_MS = 100;

/**
 * Asks the containers of a group's resources for all that is REQUESTED or RELEASING, at the same time, and records what they
 * say; what is OPEN then is asked for again by the next cycle. `properties` are the group's, for every launch.
 */
export async function driveResources(
  { catalog, catalogId, containers, settings, log }: DrivingDependencies,
  group: string,
  properties: Readonly<Record<string, string>>,
): Promise<({ readonly resourceId: string } & Driven)[]> {
  const open = (await resourcesOf(catalog, group)).filter(isOpen);
  return Promise.all(open.map(async (row) => ({ resourceId: row.resource_id, ...(await drive(row)) })));

  async function drive(row: OpenRow): Promise<Driven> {
    const container = containers.get(row.container);
    if (container === undefined) {
      return { kind: 'OPEN', reason: `container ${row.container} is not configured` };
    }
    const { state, attempt, last_error: lastError } = row;
    const step = drivingStep({ state, attempt, lastError, isPlaced: row.node_id !== null }, container);
    switch (step.kind) {
      case 'LEAVE':
        return { kind: 'FAILED', reason: step.reason };
      case 'DROP':
        await dropReleased(catalog, row.resource_id);
        return DONE;
      case 'PLACE':
        return asked(container, await placeResource(catalog, row, settings), request);
      case 'REQUEST':
        return asked(container, row, request);
      case 'RELEASE':
        return asked(container, row, release);
    }
  }

  async function asked(container: OptimizerContainer, row: ResourceRow, call: Call): Promise<Driven> {
    const node = row.node_id === null ? undefined : await findNode(catalog, row.node_id);
    if (container.onNodes && node === undefined) {
      return { kind: 'OPEN', reason: 'no live node can start optimizers' };
    }
    const { resource_id: resourceId, epoch, attempt } = row;
    const driven = await answerOf(row, () =>
      call(container, { catalogId, resourceId, epoch, attempt, node }, row),
    );
    if (driven.kind === 'FAILED') {
      const about = { group, resource: resourceId, launch: epoch, error: driven.reason };
      log.warn(about, 'the container did not do it');
    }
    return driven;
  }

  /** A call that throws says nothing about the process: it is made again, as the same attempt, by the next cycle. */
  async function answerOf(row: ResourceRow, call: () => Promise<Driven>): Promise<Driven> {
    try {
      return await call();
    } catch (error) {
      const reason = messageOf(error);
      await recordContainerError(catalog, row, reason, false);
      return { kind: 'FAILED', reason };
    }
  }

  async function request(
    container: OptimizerContainer,
    place: OptimizerPlace,
    row: ResourceRow,
  ): Promise<Driven> {
    const { threads, memory_mb: memoryMb } = row;
    const answer = await settled(() => container.request({ ...place, group, threads, memoryMb, properties }));
    if (answer.state !== 'STARTED') return notDone(row, answer);
    const { resourceId, epoch: launch } = place;
    await recordStarted(catalog, { resourceId, launch, started: answer });
    return DONE;
  }

  async function release(
    container: OptimizerContainer,
    place: OptimizerPlace,
    row: ResourceRow,
  ): Promise<Driven> {
    const answer = await settled(() => container.release(place));
    if (answer.state !== 'RELEASED') return notDone(row, answer);
    await dropReleased(catalog, place.resourceId);
    return DONE;
  }

  async function notDone(
    row: ResourceRow,
    { state, reason }: { readonly state: 'PENDING' | 'FAILED'; readonly reason: string },
  ): Promise<Driven> {
    const isFailed = state === 'FAILED';
    await recordContainerError(catalog, row, reason, isFailed);
    return { kind: isFailed ? 'FAILED' : 'OPEN', reason };
  }
}

type Call = (container: OptimizerContainer, place: OptimizerPlace, row: ResourceRow) => Promise<Driven>;

type OpenRow = ResourceRow & { readonly state: 'REQUESTED' | 'RELEASING' };

function isOpen(row: ResourceRow): row is OpenRow {
  return row.state !== 'STARTED';
}

const DONE: Driven = { kind: 'DONE' };

/** Asks a container again for a short while, as long as its answer is PENDING. */
async function settled<A extends { readonly state: string }>(ask: () => Promise<A>): Promise<A> {
  const until = performance.now() + CONTAINER_WAIT_MS;
  for (;;) {
    const answer = await ask();
    if (answer.state !== 'PENDING' || performance.now() >= until) return answer;
    await new Promise((resolve) => setTimeout(resolve, CONTAINER_POLL_MS));
  }
}
