import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { messageOf } from '../message-of.js';
import type { FaultSchema } from '../rpc/gen/steward/worker/v1/fault_pb.js';
import {
  type RegionInfo,
  RegionInfo_State,
  type ResourceEpoch,
} from '../rpc/gen/steward/worker/v1/inventory_pb.js';
import {
  OperationState,
  type OperationStatus,
  RegionKind,
} from '../rpc/gen/steward/worker/v1/operation_pb.js';
import {
  type Asked,
  type Attempt,
  type CreationAttempt,
  creationAt,
  deletionAt,
  demandSaid,
} from './operations.js';
import { type Connection, connect, type RawAnswer, rawCall, type Target, type Wire } from './target.js';
import { Transcript } from './transcript.js';
import { demand, Violation } from './violation.js';

/** The node under test, as it told about itself before the first check. */
export interface NodeUnderTest {
  readonly target: Target;
  readonly nodeId: string;
  readonly ledgerId: string;
  readonly capabilities: readonly string[];
}

/** Kills the node and starts it again, together with all checks that want it; see Restarts. */
export type Restart = (alongside?: () => Promise<void>) => Promise<void>;

/** How long an operation may be under way before the check gives up on it. */
const PATIENCE_MS = 60_000;
const LOOK_EVERY_MS = 10;
/** How long an effect is held up: the next one when what was to happen meanwhile took longer. */
const HOLDS_MS = [500, 2_000, 8_000, 30_000] as const;
/** A timer may fire a little early by another clock. */
const TIMER_SLACK_MS = 50;
const BATCH = 250;

/** What a check works with: a catalog id that nobody else has, and calls to the node that are written down. */
export class Probe {
  readonly catalogId: string = randomUUID();
  readonly transcript = new Transcript();
  readonly #siblings: Probe[] = [];
  readonly #connections: Connection[] = [];
  readonly #connection: Connection;
  /** Highest epoch asked for each group of which the check makes operations. */
  readonly #groups = new Map<number, number>();
  #nextGroup = 1_000;

  constructor(
    readonly node: NodeUnderTest,
    private readonly restartNode: Restart,
  ) {
    this.#connection = this.connect();
  }

  /** Names the node in requests. */
  get ref(): { readonly nodeId: string; readonly ledgerId: string } {
    return { nodeId: this.node.nodeId, ledgerId: this.node.ledgerId };
  }

  get operations(): Connection['operations'] {
    return this.#connection.operations;
  }

  get inventory(): Connection['inventory'] {
    return this.#connection.inventory;
  }

  get info(): Connection['node'] {
    return this.#connection.node;
  }

  get faults(): Connection['faults'] {
    return this.#connection.faults;
  }

  /** One more connection, also over another protocol. */
  connect(wire?: Wire): Connection {
    const connection = connect(this.node.target, [this.transcript.interceptor], wire);
    this.#connections.push(connection);
    return connection;
  }

  /** Posts bytes to a method of OperationService, as no client would. */
  async post(
    method: string,
    request: { readonly contentType?: string; readonly body?: Uint8Array; readonly method?: string },
  ): Promise<{ answer: RawAnswer; evidence: object }> {
    const path = `/steward.worker.v1.OperationService/${method}`;
    const answer = await rawCall(this.node.target, { path, ...request });
    const size = request.body?.length ?? 0;
    const sent = `${request.method ?? 'POST'} ${path} ${request.contentType ?? 'without content-type'}, ${size} bytes`;
    const { status, headers, body } = answer;
    const grpc = headers['grpc-status'] === undefined ? '' : ` grpc-status ${headers['grpc-status']}`;
    const evidence = this.transcript.note(method, sent, `HTTP ${status}${grpc} ${body.slice(0, 500)}`);
    return { answer, evidence };
  }

  /** A probe with another catalog id, that ends with this one. */
  sibling(): Probe {
    const sibling = new Probe(this.node, this.restartNode);
    this.#siblings.push(sibling);
    return sibling;
  }

  /** A group id that no other operation of this check has. */
  freshGroup(): number {
    return this.#nextGroup++;
  }

  creation(groupId: number, ask: CreationAttempt = {}): Asked {
    this.#ownGroup(groupId, ask.epoch ?? 1);
    return creationAt(this.#place(groupId), ask);
  }

  deletion(groupId: number, ask: Attempt = {}): Asked {
    this.#ownGroup(groupId, ask.epoch ?? 1);
    return deletionAt(this.#place(groupId), ask);
  }

  /** One status for each operation, in their order; anything else is a Violation. */
  async submit(...operations: readonly Asked[]): Promise<OperationStatus[]> {
    const response = await this.operations.submit({ node: this.ref, operations: [...operations] });
    return inOrder(
      response.statuses,
      operations.map(({ operationId }) => operationId),
      response,
    );
  }

  /** The status of one submitted operation. */
  async submitOne(operation: Asked): Promise<OperationStatus> {
    return (await this.submit(operation))[0]!;
  }

  async get(...operations: readonly Asked[]): Promise<OperationStatus[]> {
    const operationIds = operations.map(({ operationId }) => operationId);
    const response = await this.operations.get({ node: this.ref, operationIds });
    return inOrder(response.statuses, operationIds, response);
  }

  async statusOf(operation: Asked): Promise<OperationStatus> {
    return (await this.get(operation))[0]!;
  }

  async cancel(operation: Asked): Promise<OperationStatus> {
    const { operationId } = operation;
    const response = await this.operations.cancel({ node: this.ref, operationIds: [operationId] });
    return inOrder(response.statuses, [operationId], response)[0]!;
  }

  /** Asks by Get until the operation is over; answers what was said last. */
  async ended(operation: Asked): Promise<OperationStatus> {
    return (await this.allEnded([operation]))[0]!;
  }

  /** Asks by Get until all are over; at most 250. Answers what was first said of each end. */
  async allEnded(operations: readonly Asked[]): Promise<OperationStatus[]> {
    const ends = new Map<Asked, OperationStatus>();
    if (operations.length === 0) return [];
    await this.eventually('the operations to end', async () => {
      const open = operations.filter((operation) => !ends.has(operation));
      for (const [index, status] of (await this.get(...open)).entries()) {
        if (status.state !== OperationState.PROCESSING) ends.set(open[index]!, status);
      }
      const left = operations.find((operation) => !ends.has(operation));
      return left === undefined ? { is: ends } : { not: `${left.operationId} is PROCESSING` };
    });
    return operations.map((operation) => ends.get(operation)!);
  }

  /** Submits all, 250 in a call, and waits until they are over. */
  async finish(...operations: readonly Asked[]): Promise<OperationStatus[]> {
    const ends: OperationStatus[] = [];
    for (let start = 0; start < operations.length; start += BATCH) {
      const batch = operations.slice(start, start + BATCH);
      const answers = await this.submit(...batch);
      const open = batch.filter((_, index) => answers[index]!.state === OperationState.PROCESSING);
      const ended = new Map((await this.allEnded(open)).map((end, index) => [open[index]!, end]));
      ends.push(...batch.map((operation, index) => ended.get(operation) ?? answers[index]!));
    }
    return ends;
  }

  /** Runs an operation to its end, which has to be this. */
  async expectEnd(operation: Asked, ...words: readonly string[]): Promise<OperationStatus> {
    const [end] = await this.finish(operation);
    demandSaid(end!, ...words);
    return end!;
  }

  /** Makes regions, which have to come about. */
  async createAll(...operations: readonly Asked[]): Promise<void> {
    for (const end of await this.finish(...operations)) demandSaid(end, 'SUCCESS');
  }

  /** The regions of this check's catalog that the node lists. */
  async regions(pageSize = 0): Promise<RegionInfo[]> {
    const all: RegionInfo[] = [];
    for (let pageToken = ''; ; ) {
      const page = await this.inventory.listRegions({
        node: this.ref,
        catalogId: this.catalogId,
        pageSize,
        pageToken,
      });
      all.push(...page.regions);
      if (page.nextPageToken === '') return all;
      demand(page.nextPageToken !== pageToken, 'another next_page_token on each page', pageToken, page);
      pageToken = page.nextPageToken;
    }
  }

  /** Everything that ListEpochs lists, in its order. */
  async allEpochs(pageSize = 0): Promise<ResourceEpoch[]> {
    const all: ResourceEpoch[] = [];
    for (let pageToken = ''; ; ) {
      const page = await this.inventory.listEpochs({ node: this.ref, pageSize, pageToken });
      all.push(...page.epochs);
      if (page.nextPageToken === '') return all;
      demand(page.nextPageToken !== pageToken, 'another next_page_token on each page', pageToken, page);
      pageToken = page.nextPageToken;
    }
  }

  /** The highest epoch that is listed for a group of this check. */
  async epochOf(groupId: number): Promise<bigint | undefined> {
    const resource = `region/${this.catalogId}/${groupId}`;
    return (await this.allEpochs()).find((one) => one.resource === resource)?.epoch;
  }

  /** The regions listed, as text: `<group id> <database> <kind> <state>`. */
  async listed(): Promise<string[]> {
    return (await this.regions()).map(
      ({ region, database, kind, state }) =>
        `${region?.groupId} ${database} ${RegionKind[kind]} ${RegionInfo_State[state]}`,
    );
  }

  /** Throws a Violation unless exactly these groups are listed, each as present. */
  async demandPresent(...groupIds: readonly number[]): Promise<void> {
    const found = (await this.regions()).map(
      ({ region, state }) => `${region?.groupId} ${RegionInfo_State[state]}`,
    );
    const expected = [...groupIds].sort((a, b) => a - b).map((groupId) => `${groupId} PRESENT`);
    demand(
      JSON.stringify(found) === JSON.stringify(expected),
      `ListRegions to list ${expected.join(', ') || 'no region of this catalog'}`,
      found.join(', ') || 'none listed',
    );
  }

  /** Throws a Violation unless the call is refused as a whole with this code. */
  async demandRefused(call: Promise<object>, code: Code): Promise<void> {
    const answer = await call.then(
      (response) => ({ response }),
      (error: unknown) => ({ error: ConnectError.from(error) }),
    );
    if ('response' in answer) throw new Violation(codeText(code), 'the call was answered', answer.response);
    const { error } = answer;
    demand(error.code === code, codeText(code), `${codeText(error.code)}: ${error.rawMessage}`, error);
  }

  /** Looks until it is so; a Violation with what was last seen when it takes too long. */
  async eventually<T>(
    what: string,
    look: () => Promise<{ readonly is: T } | { readonly not: string; readonly evidence?: object }>,
  ): Promise<T> {
    const deadline = performance.now() + PATIENCE_MS;
    for (let waitMs = 2; ; waitMs = Math.min(waitMs * 2, LOOK_EVERY_MS)) {
      const seen = await look();
      if ('is' in seen) return seen.is;
      if (performance.now() > deadline) {
        throw new Violation(`${what} within ${PATIENCE_MS / 1_000} s`, seen.not, seen.evidence);
      }
      await pause(waitMs);
    }
  }

  /** Makes the node misbehave for operations of this check alone. */
  async fault(operation: Asked, fault: MessageInitShape<typeof FaultSchema>): Promise<void> {
    await this.faults.setFault({ fault: { times: 1, match: operation.operationId, ...fault } });
  }

  /** Holds up the effect of an operation for this time; until the node is restarted when there is none. */
  async hold(operation: Asked, delayMs = 100_000_000): Promise<void> {
    const kind = { case: 'delay', value: durationFromMs(delayMs) } as const;
    await this.fault(operation, { target: verbOf(operation), kind });
  }

  /** Counts how often the effect of the operation begins, from now on. */
  async countEffects(operation: Asked): Promise<() => Promise<number>> {
    const times = 1_000;
    const target = verbOf(operation);
    await this.fault(operation, { target, times, kind: { case: 'delay', value: {} } });
    return async () => {
      const { faults } = await this.faults.listFaults({});
      const left = faults.find((one) => one.match === operation.operationId && one.target === target)?.times;
      return times - (left ?? 0);
    };
  }

  /**
   * Submits an operation whose effect is held up, and runs `meanwhile` for as long as it surely is. When that took so
   * long that the operation may have ended, all is done again with another region and a longer hold, so that a slow
   * machine breaks no rule. An end that comes before its effect can be over is a Violation.
   */
  async whileHeld(
    make: (groupId: number) => Asked | Promise<Asked>,
    meanwhile: (held: Asked, about: { first: OperationStatus; groupId: number }) => Promise<void>,
  ): Promise<Asked> {
    for (const holdMs of HOLDS_MS) {
      const groupId = this.freshGroup();
      const held = await make(groupId);
      await this.hold(held, holdMs);
      const began = performance.now();
      const leastMs = holdMs - TIMER_SLACK_MS;
      const first = await this.submitOne(held);
      if (performance.now() - began < leastMs) demandSaid(first, 'PROCESSING');
      let thrown: unknown;
      try {
        await meanwhile(held, { first, groupId });
      } catch (error) {
        thrown = error;
      }
      const elapsedMs = performance.now() - began;
      if (elapsedMs < leastMs) {
        if (thrown !== undefined) throw thrown;
        const now = await this.statusOf(held);
        if (performance.now() - began < leastMs) demandSaid(now, 'PROCESSING');
        return held;
      }
      if (thrown !== undefined && !(thrown instanceof Violation)) throw thrown;
      await this.ended(held);
      if (thrown !== undefined && holdMs === HOLDS_MS.at(-1)) throw thrown;
    }
    throw new Error('the node answers too slowly to see what it does while an effect is held up');
  }

  /**
   * Has the node killed and started again; resolves when it answers. `alongside` runs while that happens: calls that it
   * makes may fail.
   */
  restart(alongside?: () => Promise<void>): Promise<void> {
    return this.restartNode(alongside);
  }

  /** Removes what the check made; answers the regions that are still there. */
  async cleanUp(): Promise<string[]> {
    try {
      await this.#deleteGroups([...this.#groups.keys()].filter((groupId) => groupId > 0));
      const left = (await this.regions()).map(({ region }) => `${region?.catalogId}/${region?.groupId}`);
      for (const sibling of this.#siblings) left.push(...(await sibling.cleanUp()));
      return left;
    } catch (error) {
      return [`${this.catalogId}: ${messageOf(error)}`];
    }
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
    for (const sibling of this.#siblings) sibling.close();
  }

  async #deleteGroups(groups: readonly number[]): Promise<void> {
    const above = 1_000_000;
    for (let start = 0; start < groups.length; start += BATCH) {
      const deletions = groups
        .slice(start, start + BATCH)
        .map((groupId) =>
          deletionAt(this.#place(groupId), { epoch: above + (this.#groups.get(groupId) ?? 0) }),
        );
      await this.finish(...deletions);
    }
  }

  #place(groupId: number) {
    return { catalogId: this.catalogId, groupId, nodeId: this.node.nodeId };
  }

  #ownGroup(groupId: number, epoch: number): void {
    this.#groups.set(groupId, Math.max(epoch, this.#groups.get(groupId) ?? 0));
  }
}

function verbOf({ operationId }: Asked): string {
  return operationId.slice(0, operationId.indexOf('/'));
}

function inOrder(
  statuses: readonly OperationStatus[],
  ids: readonly string[],
  response: object,
): OperationStatus[] {
  demand(statuses.length === ids.length, `${ids.length} statuses`, String(statuses.length), response);
  for (const [index, id] of ids.entries()) {
    const answered = statuses[index]!.operationId;
    demand(answered === id, `status ${index + 1} for ${id}`, `for ${answered}`, response);
  }
  return [...statuses];
}

/** `FAILED_PRECONDITION` */
export function codeText(code: Code): string {
  return Code[code].replace(/[a-z](?=[A-Z])/g, '$&_').toUpperCase();
}
