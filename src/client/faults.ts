import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { RpcConnection } from '../rpc/connection.js';
import type { Credentials } from '../rpc/credentials.js';
import {
  type Fault as FaultMessage,
  FaultSchema,
  FaultService,
} from '../rpc/gen/steward/worker/v1/fault_pb.js';
import { StewardError } from './errors.js';
import type { Node } from './model.js';

/** How a node misbehaves. An RPC and an effect can be delayed; the rest fits only one of them. */
export type FaultKind =
  /** RPC: the call is handled later. Effect: it takes longer. */
  | { readonly kind: 'DELAY'; readonly delayMs: number }
  /** RPC: not handled; answers this Connect code, such as `unavailable`. */
  | { readonly kind: 'ERROR'; readonly code: string }
  /** RPC: handled, and its reply is lost. */
  | { readonly kind: 'DROP_REPLY' }
  /** RPC: not handled and never answered. */
  | { readonly kind: 'DROP_REQUEST' }
  /** RPC: handled twice at the same time. */
  | { readonly kind: 'DUPLICATE' }
  /** Submit: operations that are not known yet are refused, and may come again after this. */
  | { readonly kind: 'BUSY'; readonly retryAfterMs: number }
  /** Effect: ends as FAIL; `afterEffect`: although it was done. */
  | { readonly kind: 'FAIL'; readonly message: string; readonly afterEffect: boolean };

/** A fault of a node that was started with `--allow-faults`: for tests, and for people who try things. */
export type Fault = FaultKind & {
  /** An RPC (`Submit`, `ListRegions`, ...; not `GetNodeInfo`) or what an operation does (`create-region`, ...). */
  readonly target: string;
  /** How often it strikes; 0: until it is cleared. In a list: how often it still does. */
  readonly times: number;
  /** Only operations whose id contains this. */
  readonly match?: string | undefined;
};

const DEADLINE_MS = 5_000;

/** `details` of REJECTED: the node was started without `--allow-faults`. */
export const FAULTS_NOT_ALLOWED = 'FAULTS_NOT_ALLOWED';

/** Sets faults at a node, clears or lists them; one short connection for each. */
export class NodeFaults {
  constructor(
    private readonly node: Pick<Node, 'nodeId' | 'address'>,
    private readonly credentials: Credentials,
  ) {}

  /** @throws StewardError INVALID_INPUT (the target, or a kind that does not fit it), REJECTED, UNAVAILABLE */
  async set(fault: Fault): Promise<void> {
    await this.#ask((faults) => faults.setFault({ fault: create(FaultSchema, messageOf(fault)) }));
  }

  /** Removes all, and lets go of what they hold up. */
  async clear(): Promise<void> {
    await this.#ask((faults) => faults.clearFaults({}));
  }

  async list(): Promise<Fault[]> {
    const { faults } = await this.#ask((service) => service.listFaults({}));
    return faults.map(faultFrom);
  }

  async #ask<T>(question: (faults: ReturnType<typeof clientOf>) => Promise<T>): Promise<T> {
    const { nodeId, address } = this.node;
    const connection = new RpcConnection(address, this.credentials, { deadlineMs: DEADLINE_MS });
    try {
      return await question(clientOf(connection));
    } catch (error) {
      if (error instanceof ConnectError && error.code === Code.Unimplemented) {
        throw new StewardError(
          'REJECTED',
          `${nodeId} takes no faults: it was started without --allow-faults`,
          { cause: error, details: FAULTS_NOT_ALLOWED },
        );
      }
      throw StewardError.from(error, `${nodeId} at ${address}`);
    } finally {
      connection.close();
    }
  }
}

function clientOf({ transport }: RpcConnection) {
  return createClient(FaultService, transport);
}

function messageOf(fault: Fault): MessageInitShape<typeof FaultSchema> {
  const { target, times, match = '' } = fault;
  return { target, times, match, kind: kindOf(fault) };
}

function kindOf(fault: FaultKind): NonNullable<MessageInitShape<typeof FaultSchema>['kind']> {
  switch (fault.kind) {
    case 'DELAY':
      return { case: 'delay', value: durationFromMs(fault.delayMs) };
    case 'ERROR':
      return { case: 'error', value: fault.code };
    case 'DROP_REPLY':
      return { case: 'dropReply', value: true };
    case 'DROP_REQUEST':
      return { case: 'dropRequest', value: true };
    case 'DUPLICATE':
      return { case: 'duplicate', value: true };
    case 'BUSY':
      return { case: 'busy', value: durationFromMs(fault.retryAfterMs) };
    case 'FAIL':
      return { case: 'fail', value: { message: fault.message, afterEffect: fault.afterEffect } };
  }
}

function faultFrom({ target, times, match, kind }: FaultMessage): Fault {
  return { target, times, ...(match !== '' && { match }), ...kindFrom(kind) };
}

function kindFrom(kind: FaultMessage['kind']): FaultKind {
  switch (kind.case) {
    case 'delay':
      return { kind: 'DELAY', delayMs: durationMs(kind.value) };
    case 'error':
      return { kind: 'ERROR', code: kind.value };
    case 'dropReply':
      return { kind: 'DROP_REPLY' };
    case 'dropRequest':
      return { kind: 'DROP_REQUEST' };
    case 'duplicate':
      return { kind: 'DUPLICATE' };
    case 'busy':
      return { kind: 'BUSY', retryAfterMs: durationMs(kind.value) };
    case 'fail':
      return { kind: 'FAIL', message: kind.value.message, afterEffect: kind.value.afterEffect };
    case undefined:
      throw new StewardError('FAILED', 'the node answered a fault of a kind that this version does not know');
  }
}
